"""The checked client in the shapes of httpx and requests: what SDKs do with them meets the same rules."""

import gzip
import io

import httpcore2
import httpx
import pytest
import requests

from core.outbound import OutboundCaps, OutboundLimit, OutboundRefused, OutboundUse, async_client, async_transport
from core.outbound_httpx import httpx_client
from core.outbound_requests import requests_session
from core.tests.listener import Listener, listening, redirect, served

USE = OutboundUse.CONNECTOR


def checked(*listeners, caps=None, **options):
    allow = {USE.value: frozenset(listener.endpoint for listener in listeners)}
    return async_client(USE, transport=async_transport(USE, allow=allow, caps=caps, **options), caps=caps)


# --- httpx -------------------------------------------------------------------------------------------------------


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


async def test_httpx_sends_and_reads(server):
    async with httpx_client(USE, client=checked(server)) as client:
        answer = await client.post(f"http://{server.endpoint}/a?b=c", json={"q": 1}, headers={"X-Key": "k"})

    assert (answer.status_code, answer.text, answer.http_version) == (200, "ok", "HTTP/1.1")
    assert server.requests[0].startswith("POST /a?b=c HTTP/1.1\r\n")
    assert "x-key: k\r\n" in server.requests[0].lower()
    assert server.requests[0].endswith('{"q":1}')


async def test_httpx_streams_both_ways(server):
    async def body():
        yield b"on"
        yield b"ce"

    async with httpx_client(USE, client=checked(server)) as client:
        request = client.build_request(
            "PUT", f"http://{server.endpoint}/", content=body(), headers={"Content-Length": "4"}
        )
        answer = await client.send(request, stream=True)
        pieces = [piece async for piece in answer.aiter_bytes()]

    assert (b"".join(pieces), server.requests[0].endswith("once")) == (b"ok", True)


async def test_httpx_is_refused_what_is_private_at_once_and_behind_a_redirect(server, canary):
    server.answer = redirect(f"http://{canary.endpoint}/")
    async with httpx_client(USE, client=checked(server)) as client:
        for url in (f"http://{canary.endpoint}/", f"http://{server.endpoint}/"):
            with pytest.raises(OutboundRefused):
                await client.get(url, follow_redirects=True)

    assert canary.connections == 0


async def test_httpx_carries_no_credential_to_another_origin(server, other):
    server.answer = redirect(f"http://{other.endpoint}/next", 307)
    async with httpx_client(USE, client=checked(server, other)) as client:
        answer = await client.post(
            f"http://{server.endpoint}/?key=s3cret", content="s3cret", headers={"X-Key": "s3cret"}, auth=("u", "s3cret")
        )

    assert answer.text == "ok"
    assert "s3cret" not in other.requests[0]
    assert other.requests[0].startswith("GET /next ")


async def test_httpx_meets_the_caps_and_errors_of_its_own_kind(server):
    async with httpx_client(USE, client=checked(server, caps=OutboundCaps(max_bytes=1000))) as client:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
        with pytest.raises(OutboundLimit):
            await client.get(f"http://{server.endpoint}/")
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://{server.endpoint}/")
        server.answer = redirect("/again")
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(f"http://{server.endpoint}/")
    async with httpx_client(USE, client=checked(Listener(port=1))) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.3:1/")


async def test_httpx_reads_nothing_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.2:1")
    async with httpx_client(USE, client=checked(server)) as client:
        assert (await client.get(f"http://{server.endpoint}/")).text == "ok"
        assert client.trust_env is False
        assert client.timeout.connect == 5


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.fixture
def site():
    with served(Listener()) as listener:
        yield listener


@pytest.fixture
def elsewhere():
    with served(Listener(host="127.0.0.4")) as listener:
        yield listener


@pytest.fixture
def trap():
    with served(Listener(host="127.0.0.2")) as listener:
        yield listener


def test_requests_sends_and_reads(site):
    site.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: s=1\r\nContent-Length: 8\r\n\r\n"
        + (b'{"a": 1}')
    )
    with requests_session(USE, client=checked(site)) as session:
        first = session.post(f"http://{site.endpoint}/a", json={"q": 1}, headers={"X-Key": "k"})
        session.get(f"http://{site.endpoint}/b", params={"c": "d"}, auth=("u", "p"))

    assert (first.status_code, first.json(), first.reason) == (200, {"a": 1}, "OK")
    assert first.url == f"http://{site.endpoint}/a"
    assert site.requests[0].endswith('{"q": 1}')
    assert site.requests[1].startswith("GET /b?c=d HTTP/1.1\r\n")
    assert "authorization: basic" in site.requests[1].lower()
    assert "cookie" not in site.requests[1].lower()


@pytest.mark.parametrize("body", [io.BytesIO(b"once"), iter(["on", b"ce"]), "once"], ids=["file", "parts", "text"])
def test_requests_uploads(site, body):
    with requests_session(USE, client=checked(site)) as session:
        session.put(f"http://{site.endpoint}/", data=body)
    with_length, chunked = site.requests[0], "".join(site.requests)

    assert with_length.endswith("\r\n\r\nonce") or chunked.endswith("\r\n\r\n2\r\non\r\n2\r\nce\r\n0\r\n\r\n")


def test_requests_streams_an_unpacked_answer(site):
    packed = gzip.compress(b"line\n" * 1000)
    site.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    with requests_session(USE, client=checked(site)) as session:
        answer = session.get(f"http://{site.endpoint}/", stream=True)
        lines = list(answer.iter_lines())
        answer.close()
        raw = session.get(f"http://{site.endpoint}/", stream=True).raw
        assert io.BufferedReader(raw).read() == b"line\n" * 1000

    assert lines == [b"line"] * 1000


def test_requests_is_refused_what_is_private_at_once_and_behind_a_redirect(site, trap):
    site.answer = redirect(f"http://{trap.endpoint}/")
    with requests_session(USE, client=checked(site)) as session:
        for url in (f"http://{trap.endpoint}/", f"http://{site.endpoint}/"):
            with pytest.raises(OutboundRefused):
                session.get(url, verify=False, proxies={"http": f"http://{trap.endpoint}"})
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get("file:///etc/passwd")

    assert trap.connections == 0


def test_requests_carries_no_credential_to_another_origin(site, elsewhere):
    site.answer = redirect(f"http://{elsewhere.endpoint}/next", 302)
    with requests_session(USE, client=checked(site, elsewhere)) as session:
        session.headers["X-Key"] = "s3cret"
        answer = session.get(f"http://{site.endpoint}/", auth=("u", "s3cret"))

    assert answer.url == f"http://{elsewhere.endpoint}/next"
    assert "s3cret" not in elsewhere.requests[0]


def test_requests_meets_the_caps_and_errors_of_its_own_kind(site):
    client = checked(site, caps=OutboundCaps(max_bytes=1000, total_seconds=0.5))
    with requests_session(USE, client=client) as session:
        site.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
        with pytest.raises(OutboundLimit):
            session.get(f"http://{site.endpoint}/")
        site.answer = redirect("/again")
        with pytest.raises(requests.TooManyRedirects):
            session.get(f"http://{site.endpoint}/")
        site.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc"
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{site.endpoint}/")
        site.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        with pytest.raises(requests.ReadTimeout):
            session.get(f"http://{site.endpoint}/", timeout=(1, 0.1))
        with pytest.raises(requests.exceptions.SSLError, match="Client certificates"):
            session.get(f"http://{site.endpoint}/", cert="/etc/cert.pem")


def test_requests_names_a_connection_that_was_not_made():
    silent = Listener(port=1)
    with requests_session(USE, client=checked(silent)) as session, pytest.raises(requests.ConnectionError):
        session.get(f"http://{silent.endpoint}/")


class Unreachable(httpcore2.AsyncNetworkBackend):
    async def connect_tcp(self, host, port, timeout=None, *_):  # noqa: ASYNC109 - the interface has it
        raise httpcore2.ConnectTimeout("nobody there")


def test_requests_names_a_connection_that_took_too_long(site):
    with (
        requests_session(USE, client=checked(site, network=Unreachable())) as session,
        pytest.raises(requests.ConnectTimeout),
    ):
        session.get(f"http://{site.endpoint}/")
