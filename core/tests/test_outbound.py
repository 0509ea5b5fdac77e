"""The checked client against real sockets on loopback: redirects, caps, TLS, SDKs."""

import asyncio
import gzip
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore2
import httpx2
import openai
import psutil
import pytest

from core import outbound
from core.outbound import OutboundCaps, OutboundLimit, OutboundRefused, OutboundUse, async_client, async_transport
from core.tests.listener import Listener, listening, make_certificate, redirect


@pytest.fixture
async def server():
    async with listening(Listener()) as listener:
        yield listener


@pytest.fixture
async def other():
    async with listening(Listener(host="127.0.0.4")) as listener:
        yield listener


@pytest.fixture
async def canary():
    async with listening(Listener(host="127.0.0.2")) as listener:
        yield listener


@asynccontextmanager
async def client_for(*listeners: Listener, caps: OutboundCaps | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    allow = {"tool": frozenset(listener.endpoint for listener in listeners)}
    transport = async_transport(OutboundUse.TOOL, allow=allow, caps=caps)
    async with async_client(OutboundUse.TOOL, transport=transport, caps=caps) as client:
        yield client


async def test_allowed_endpoint_answers_and_its_connection_is_kept(server):
    async with client_for(server) as client:
        first = await client.get(f"http://{server.endpoint}/a")
        await client.get(f"http://{server.endpoint}/b")

    assert (first.status_code, first.text) == (200, "ok")
    assert server.connections == 1
    assert [request.split(" ")[1] for request in server.requests] == ["/a", "/b"]


async def test_endpoint_of_another_use_is_never_reached(server, canary):
    async with client_for(server) as client:
        with pytest.raises(OutboundRefused):
            await client.get(f"http://{canary.endpoint}/")

    assert canary.connections == 0


async def test_settings_hold_the_allow_list(server, settings):
    settings.OUTBOUND_ALLOW = {"*": frozenset({server.endpoint})}

    async with async_client(OutboundUse.MCP) as client:
        assert (await client.get(f"http://{server.endpoint}/")).text == "ok"


async def test_listed_name_is_connected_at_its_address_and_kept_in_host(server):
    async def resolver(host, port):
        return [server.host]

    allow = {"tool": frozenset({f"models.lan:{server.port}"})}
    transport = async_transport(OutboundUse.TOOL, allow=allow, resolver=resolver)
    async with async_client(OutboundUse.TOOL, transport=transport) as client:
        response = await client.get(f"http://models.lan:{server.port}/", headers={"Host": "elsewhere.test"})

    assert response.status_code == 200
    assert f"host: models.lan:{server.port}\r\n" in server.requests[0].lower()
    assert "elsewhere" not in server.requests[0]


async def test_next_address_is_tried_when_the_first_does_not_answer(server):
    async def resolver(host, port):
        return ["127.0.0.9", server.host]

    allow = {"tool": frozenset({f"models.lan:{server.port}"})}
    transport = async_transport(OutboundUse.TOOL, allow=allow, resolver=resolver)
    async with async_client(OutboundUse.TOOL, transport=transport) as client:
        assert (await client.get(f"http://models.lan:{server.port}/")).text == "ok"


async def test_refused_connection_is_an_error_of_the_client(server):
    server_gone = Listener(port=1)
    async with client_for(server_gone) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://{server_gone.endpoint}/")


async def test_system_resolver_answers_all_addresses_or_none():
    assert "127.0.0.1" in await outbound.resolve("localhost", 80)
    assert await outbound.resolve("no-such-name.invalid", 80) == ()
    assert await outbound.resolve("a" * 64 + ".test", 80) == ()


async def test_answers_leave_no_cookies(server):
    server.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n"
    async with client_for(server) as client:
        await client.get(f"http://{server.endpoint}/")
        await client.get(f"http://{server.endpoint}/")

    assert "cookie" not in server.requests[1].lower()


# --- redirects ---------------------------------------------------------------------------------------------------


async def test_redirect_to_another_origin_carries_no_credential_and_no_body(server, other):
    server.answer = redirect("http://OTHER/next", 307)
    server.answer = server.answer.replace(b"OTHER", other.endpoint.encode())
    async with client_for(server, other) as client:
        response = await client.post(
            f"http://{server.endpoint}/start?key=s3cret",
            json={"key": "s3cret"},
            headers={"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "s=s3cret", "Accept": "text/*"},
            auth=("user", "s3cret"),
        )

    assert response.text == "ok"
    assert str(response.url) == f"http://{other.endpoint}/next"
    assert [past.status_code for past in response.history] == [307]
    (request,) = other.requests
    assert request.startswith("GET /next HTTP/1.1\r\n")
    assert "s3cret" not in request
    assert "authorization" not in request.lower()
    assert "accept: text/*" in request.lower()


@pytest.mark.parametrize(
    "status, method, expected, body",
    [
        (307, "POST", "POST", "hello"),
        (308, "PUT", "PUT", "hello"),
        (302, "POST", "GET", ""),
        (303, "POST", "GET", ""),
        (301, "HEAD", "HEAD", ""),
    ],
)
async def test_redirect_at_the_same_origin_keeps_credentials(server, status, method, expected, body):
    async def answer(head, writer):
        writer.write(redirect("/next", status) if "/start" in head else b"HTTP/1.1 204 No Content\r\n\r\n")

    server.answer = answer
    async with client_for(server) as client:
        content = None if method == "HEAD" else "hello"
        url = f"http://{server.endpoint}/start"
        response = await client.request(method, url, content=content, headers={"Authorization": "Bearer k"})

    assert response.status_code == 204
    assert server.requests[1].startswith(f"{expected} /next HTTP/1.1\r\n")
    assert "authorization: Bearer k" in server.requests[1].replace("Authorization", "authorization")
    assert server.requests[1].partition("\r\n\r\n")[2] == body


async def test_redirect_to_a_private_address_is_refused(server, canary):
    server.answer = redirect(f"http://{canary.endpoint}/")
    async with client_for(server) as client:
        with pytest.raises(OutboundRefused):
            await client.get(f"http://{server.endpoint}/")

    assert canary.connections == 0


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://[::1/", "//x\\@127.0.0.2/", "http://user@127.0.0.3/"]
)
async def test_redirect_to_no_clean_address_is_refused(server, location):
    server.answer = redirect(location)
    async with client_for(server) as client:
        with pytest.raises(OutboundRefused):
            await client.get(f"http://{server.endpoint}/")

    assert len(server.requests) == 1


async def test_fourth_redirect_ends_the_request(server):
    server.answer = redirect("/again")
    async with client_for(server) as client:
        with pytest.raises(httpx2.TooManyRedirects):
            await client.get(f"http://{server.endpoint}/", follow_redirects=True)

    assert len(server.requests) == 4


async def test_streamed_body_is_not_sent_twice(server):
    server.answer = redirect("/next", 307)

    async def body():
        yield b"once"

    async with client_for(server) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="sent twice"):
            await client.post(f"http://{server.endpoint}/", content=body(), headers={"Content-Length": "4"})


# --- caps --------------------------------------------------------------------------------------------------------


def packed(body: bytes, encoding: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "encoding, pack", [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)]
)
async def test_packed_answer_is_unpacked(server, encoding, pack):
    text = b"abc" * 100_000
    server.answer = packed(pack(text), encoding)
    async with client_for(server) as client:
        response = await client.get(f"http://{server.endpoint}/")

    assert response.content == text
    assert "content-encoding" not in response.headers
    assert "accept-encoding: gzip, deflate\r\n" in server.requests[0].lower()


async def test_gzip_bomb_is_cut_at_the_cap(server):
    server.answer = packed(gzip.compress(bytes(20_000_000)), "gzip")
    seen = []

    async def read(client):
        async with client.stream("GET", f"http://{server.endpoint}/") as response:
            async for piece in response.aiter_raw():
                seen.append(len(piece))

    async with client_for(server, caps=OutboundCaps(max_bytes=1_000_000)) as client:
        with pytest.raises(OutboundLimit, match="larger than 1000000 bytes"):
            await read(client)

    assert max(seen) <= 65536
    assert 900_000 < sum(seen) <= 1_000_000


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_packing_that_was_not_asked_for_is_refused(server, encoding):
    server.answer = packed(b"x", encoding)
    async with client_for(server) as client:
        with pytest.raises(OutboundLimit, match="not asked for"):
            await client.get(f"http://{server.endpoint}/")


async def test_bomb_costs_a_piece_of_memory_and_not_its_size(server):
    """A hundred megabytes in a hundred kilobytes: what is read is thrown away, and the cap of the use ends it."""
    zeros = zlib.compressobj(wbits=31)
    bomb = b"".join(zeros.compress(bytes(2**20)) for _ in range(100)) + zeros.flush()
    server.answer = packed(bomb, "gzip")
    before = psutil.Process().memory_info().rss
    peak = 0

    async def read(client):
        nonlocal peak
        async with client.stream("GET", f"http://{server.endpoint}/") as response:
            async for _ in response.aiter_raw():
                peak = max(peak, psutil.Process().memory_info().rss)

    async with client_for(server) as client:
        with pytest.raises(OutboundLimit, match="larger than 8388608 bytes"):
            await read(client)

    assert peak - before < 30 * 2**20


async def test_slow_headers_are_cut_at_the_total_time(server):
    """One byte at a time, always soon enough for the timeout of a step."""

    async def answer(head, writer):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 50:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    server.answer = answer
    started = time.monotonic()
    async with client_for(server, caps=OutboundCaps(total_seconds=0.3)) as client:
        with pytest.raises(httpx2.ReadTimeout, match="total time"):
            await client.get(f"http://{server.endpoint}/")

    assert 0.25 < time.monotonic() - started < 2


async def test_damaged_and_cut_packing_are_errors(server):
    async with client_for(server) as client:
        server.answer = packed(b"no gzip", "gzip")
        with pytest.raises(OutboundLimit, match="damaged"):
            await client.get(f"http://{server.endpoint}/")
        server.answer = packed(gzip.compress(b"hello" * 1000)[:-9], "gzip")
        with pytest.raises(httpx2.RemoteProtocolError, match="cut"):
            await client.get(f"http://{server.endpoint}/")
        server.answer = packed(b"", "gzip")
        assert (await client.head(f"http://{server.endpoint}/")).content == b""


async def test_announced_size_over_the_cap_is_refused_at_once(server):
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n"
    async with client_for(server, caps=OutboundCaps(max_bytes=1000)) as client:
        with pytest.raises(OutboundLimit, match="larger than 1000 bytes"):
            await client.get(f"http://{server.endpoint}/")


async def test_size_of_a_body_that_a_head_request_does_not_get_is_free(server):
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\nConnection: close\r\n\r\n"
    async with client_for(server, caps=OutboundCaps(max_bytes=1000)) as client:
        response = await client.head(f"http://{server.endpoint}/")

    assert response.headers["content-length"] == "2000000000"


async def test_endless_body_is_cut_at_the_cap(server):
    async def answer(head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    server.answer = answer
    async with client_for(server, caps=OutboundCaps(max_bytes=100_000)) as client:
        with pytest.raises(OutboundLimit, match="larger than 100000 bytes"):
            await client.get(f"http://{server.endpoint}/")


async def test_drip_is_cut_at_the_total_time(server):
    async def answer(head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    server.answer = answer
    started = time.monotonic()
    async with client_for(server, caps=OutboundCaps(total_seconds=0.3)) as client:
        with pytest.raises(httpx2.ReadTimeout, match="total time"):
            await client.get(f"http://{server.endpoint}/")

    assert 0.25 < time.monotonic() - started < 2


async def test_total_time_counts_over_redirects(server):
    async def answer(head, writer):
        await asyncio.sleep(0.15)
        writer.write(redirect("/next"))

    server.answer = answer
    async with client_for(server, caps=OutboundCaps(total_seconds=0.25)) as client:
        with pytest.raises(httpx2.ReadTimeout, match="total time"):
            await client.get(f"http://{server.endpoint}/")

    assert len(server.requests) == 2


async def test_too_many_headers_are_refused(server):
    server.answer = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"Content-Length: 0\r\n\r\n"
    async with client_for(server) as client:
        with pytest.raises(OutboundLimit, match="more than 128 headers"):
            await client.get(f"http://{server.endpoint}/")
    server.answer = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 20) for n in range(10_000))
    async with client_for(server) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(f"http://{server.endpoint}/")


async def test_cut_body_is_an_error_of_the_client(server):
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc"
    async with client_for(server) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(f"http://{server.endpoint}/")


async def test_connection_attempts_may_pause():
    backend = outbound.CheckedBackend(OutboundUse.TOOL, {}, inner=httpcore2.AsyncMockBackend([]))

    assert await asyncio.wait_for(backend.sleep(0), timeout=1) is None


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("name, accepted", [("models.lan", True), ("other.lan", False)])
async def test_tls_names_and_verifies_the_host_not_the_address(certificate, name, accepted):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    asked = []
    server_side.sni_callback = lambda connection, server_name, context: asked.append(server_name)

    async def resolver(host, port):
        return ["127.0.0.3"]

    async with listening(Listener(), tls=server_side) as server:
        transport = async_transport(
            OutboundUse.PROVIDER,
            allow={"provider": frozenset({f"{name}:{server.port}"})},
            resolver=resolver,
            ssl_context=ssl.create_default_context(cafile=certificate),
        )
        async with async_client(OutboundUse.PROVIDER, transport=transport) as client:
            if accepted:
                assert (await client.get(f"https://{name}:{server.port}/")).text == "ok"
            else:
                with pytest.raises(httpx2.ConnectError):
                    await client.get(f"https://{name}:{server.port}/")

    assert asked == [name]
    assert len(server.requests) == (1 if accepted else 0)


async def test_unknown_certificate_is_refused(certificate):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    async with listening(Listener(), tls=server_side) as server, client_for(server) as client:
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://{server.endpoint}/")


def test_bare_machine_gets_roots(monkeypatch, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda: bare)

    context = outbound.tls_context.__wrapped__()

    assert len(context.get_ca_certs()) > 50
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True


# --- SDKs --------------------------------------------------------------------------------------------------------


async def test_openai_client_streams_through_the_checked_client(server):
    chunk = (
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    server.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(chunk) + chunk
    )
    async with client_for(server) as http_client:
        sdk = openai.AsyncOpenAI(base_url=f"http://{server.endpoint}/v1", api_key="k", http_client=http_client)
        stream = await sdk.chat.completions.create(model="m", messages=[], stream=True)
        text = "".join([part.choices[0].delta.content async for part in stream])

        await sdk.chat.completions.create(model="m", messages=[], stream=True)

    assert text == "hi"
    assert server.connections == 1


async def test_openai_client_hands_the_refusal_on(server, canary):
    async with client_for(server) as http_client:
        base_url = f"http://{canary.endpoint}/v1"
        sdk = openai.AsyncOpenAI(base_url=base_url, api_key="k", http_client=http_client, max_retries=0)
        with pytest.raises(OutboundRefused):
            await sdk.models.list()

    assert canary.connections == 0
