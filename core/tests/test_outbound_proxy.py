"""The proxy for what takes no transport: real git, real urllib3, raw sockets."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpcore2
import pytest
import urllib3

from core.outbound import OutboundCaps, OutboundUse
from core.outbound_proxy import outbound_proxy
from core.tests.listener import Listener, make_certificate, redirect, served
from core.tests.test_outbound_rules import REFUSED_SPELLINGS, RecordingNetwork, answer

USE = OutboundUse.CONNECTOR


def allowed(*listeners):
    return {USE.value: frozenset(listener.endpoint for listener in listeners)}


@pytest.fixture
def site():
    with served(Listener()) as listener:
        yield listener


@pytest.fixture
def trap():
    with served(Listener(host="127.0.0.2")) as listener:
        yield listener


def through(proxy, **options):
    parts = urlsplit(proxy.url)
    headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")
    return urllib3.ProxyManager(
        f"http://127.0.0.1:{parts.port}", proxy_headers=headers, retries=False, timeout=5, **options
    )


def say(proxy, text, *, password=True):
    """Send bytes as they are; the first line of the answer."""
    parts = urlsplit(proxy.url)
    secret = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")["proxy-authorization"]
    with socket.create_connection(("127.0.0.1", parts.port), timeout=5) as connection:
        head = f"{text}\r\nProxy-Authorization: {secret}\r\n\r\n" if password else f"{text}\r\n\r\n"
        connection.sendall(head.encode())
        return connection.recv(4096).decode().split("\r\n")[0]


# --- git ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    """A repository served over plain HTTP on 127.0.0.3; its port."""
    work, bare = tmp_path / "work", tmp_path / "served" / "handbook.git"
    git(tmp_path, "init", "-q", "-b", "main", str(work))
    (work / "leave.md").write_text("Thirty days.")
    git(work, "add", ".")
    git(work, "-c", "user.name=A", "-c", "user.email=a@b.test", "commit", "-qm", "Say how long")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    git(bare, "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.3", 0), lambda *args: Quiet(*args, directory=str(bare.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        return


def git(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0", **variables}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_git_clones_what_is_allowed(repository, tmp_path):
    with outbound_proxy(USE, allow={USE.value: frozenset({f"127.0.0.3:{repository}"})}) as proxy:
        url = f"http://127.0.0.3:{repository}/handbook.git"
        done = git(tmp_path, "clone", "-q", url, "cloned", http_proxy=proxy.url)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cloned" / "leave.md").read_text() == "Thirty days."
    assert proxy.refusals == []


def test_git_is_refused_what_is_private_at_once_and_behind_a_redirect(site, trap, tmp_path):
    site.answer = redirect(f"http://{trap.endpoint}/handbook.git/info/refs")
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        direct = git(tmp_path, "ls-remote", f"http://{trap.endpoint}/handbook.git", http_proxy=proxy.url)
        behind = git(tmp_path, "ls-remote", f"http://{site.endpoint}/handbook.git", http_proxy=proxy.url)
        tunnel = git(tmp_path, "ls-remote", f"https://{trap.endpoint}/handbook.git", https_proxy=proxy.url)

    assert trap.connections == 0
    assert all("403" in one.stderr for one in (direct, behind, tunnel)), (direct.stderr, behind.stderr, tunnel.stderr)
    assert [str(one) for one in proxy.refusals] == [str(proxy.refusals[0])] * 3
    assert f"OUTBOUND_ALLOW: connector={trap.endpoint}" in str(proxy.refusals[0])


# --- urllib3, as boto3 uses it -----------------------------------------------------------------------------------


def test_tunnel_keeps_the_name_for_tls_and_connects_to_the_checked_address(tmp_path):
    certificate = make_certificate(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)

    async def resolver(host, port):
        return ["127.0.0.3"]

    with served(Listener(), tls=server_side) as server:
        endpoint = f"models.lan:{server.port}"
        with outbound_proxy(USE, allow={USE.value: frozenset({endpoint})}, resolver=resolver) as proxy:
            pool = through(proxy, ssl_context=ssl.create_default_context(cafile=certificate))
            answered = pool.request("GET", f"https://{endpoint}/")

    assert answered.data == b"ok"
    assert f"host: {endpoint}\r\n" in server.requests[0].lower()


def test_forwarded_request_names_the_checked_host_and_drops_what_is_for_the_proxy(site):
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        pool = through(proxy)
        sent = pool.request("PUT", f"http://{site.endpoint}/a?b=c", body=b"hello", headers={"Host": "elsewhere.test"})

    assert sent.data == b"ok"
    assert site.requests[0].startswith("PUT /a?b=c HTTP/1.1\r\n")
    assert "elsewhere" not in site.requests[0]
    assert "proxy-authorization" not in site.requests[0].lower()
    assert site.requests[0].endswith("hello")


def test_chunked_body_arrives(site):
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        through(proxy).request("PUT", f"http://{site.endpoint}/", body=iter([b"on", b"ce"]), chunked=True)
        deadline = time.monotonic() + 5
        while not "".join(site.requests).endswith("0\r\n\r\n") and time.monotonic() < deadline:
            time.sleep(0.01)

    assert "".join(site.requests).endswith("\r\n\r\n2\r\non\r\n2\r\nce\r\n0\r\n\r\n")


def test_second_request_on_a_connection_goes_nowhere(site, trap):
    """It may be for another host: the answer says close, and what comes after the first body is not passed on."""
    with outbound_proxy(USE, allow=allowed(site, trap)) as proxy:
        parts = urlsplit(proxy.url)
        secret = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")["proxy-authorization"]
        one, two = (
            f"GET http://{listener.endpoint}/ HTTP/1.1\r\nProxy-Authorization: {secret}\r\n\r\n"
            for listener in (site, trap)
        )
        with socket.create_connection(("127.0.0.1", parts.port), timeout=5) as connection:
            connection.sendall(one.encode())
            answered = connection.recv(4096)
            connection.sendall(two.encode())
            rest = connection.recv(4096)

    assert b"Connection: close\r\n" in answered
    assert (rest, len(site.requests), trap.connections) == (b"", 1, 0)


def test_rebinding_name_is_checked_at_each_tunnel():
    answers = iter([["93.184.215.14"], ["127.0.0.2"], ["93.184.215.14", "127.0.0.2"]])
    network = RecordingNetwork()

    async def rebinding(host, port):
        return next(answers)

    with outbound_proxy(USE, allow={}, resolver=rebinding, network=network) as proxy:
        lines = [say(proxy, "CONNECT rebind.test:443 HTTP/1.1") for _ in range(3)]

    assert [line.split()[1] for line in lines] == ["502", "403", "403"]
    assert network.connected == [("93.184.215.14", 443)]


@pytest.mark.parametrize("form", ["CONNECT", "GET"])
def test_no_spelling_leads_anywhere(form):
    network = RecordingNetwork()
    # Bytes that end the request's own line never get as far as an address.
    spellings = [url for url in REFUSED_SPELLINGS if url.isascii() and len(url) < 8000]
    with outbound_proxy(USE, allow={}, resolver=answer, network=network) as proxy:
        for url in spellings:
            target = url if form == "GET" else url.partition("//")[2].partition("/")[0] or url
            line = say(proxy, f"{form} {target} HTTP/1.1")
            refused = line.split()[1] in ("400", "403")
            assert refused or (form == "CONNECT" and "public.test" in target), (target, line)

    assert {address for address, _ in network.connected} <= {"93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"}


@pytest.mark.parametrize(
    "target", ["public.test", "public.test:443/", "public.test:443/a", "public.test:443?a", "public.test:443#a", ":443"]
)
def test_tunnel_is_to_a_host_and_a_port(target):
    network = RecordingNetwork()
    with outbound_proxy(USE, allow={}, resolver=answer, network=network) as proxy:
        line = say(proxy, f"CONNECT {target} HTTP/1.1")

    assert line.split()[1] == ("502" if target == "public.test" else "403")


def test_stranger_on_this_machine_gets_nothing(site):
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        lines = [
            say(proxy, f"GET http://{site.endpoint}/ HTTP/1.1", password=False),
            say(proxy, f"CONNECT {site.endpoint} HTTP/1.1\r\nProxy-Authorization: Basic AAAA", password=False),
        ]

    assert [line.split()[1] for line in lines] == ["407", "407"]
    assert site.connections == 0


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "PUT http://a.test/ HTTP/1.1\r\nContent-Length: 1, 2",
        "GET http://a.test/ HTTP/1.1\r\nX: a\nHost: b",
        "é / x",
    ],
)
def test_what_is_no_request_is_a_400(text):
    with outbound_proxy(USE, allow={}) as proxy:
        assert say(proxy, text).split()[1] == "400"


def test_https_is_tunnelled_and_never_forwarded(site):
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        assert say(proxy, f"GET https://{site.endpoint}/ HTTP/1.1").split()[1] == "403"


def test_connection_ends_at_its_bytes_and_at_its_time(site):
    async def endless(head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 1024)
            await writer.drain()

    site.answer = endless
    with outbound_proxy(USE, allow=allowed(site), caps=OutboundCaps(max_bytes=100_000)) as proxy:
        cut = through(proxy).request("GET", f"http://{site.endpoint}/")
    assert 0 < len(cut.data) <= 100_000

    async def silent(head, writer):
        await writer.drain()
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()

            await asyncio.sleep(0.02)

    site.answer = silent
    began = time.monotonic()
    with (
        outbound_proxy(USE, allow=allowed(site), caps=OutboundCaps(total_seconds=0.3)) as proxy,
        pytest.raises(urllib3.exceptions.HTTPError),
    ):
        through(proxy).request("GET", f"http://{site.endpoint}/")
    assert 0.25 < time.monotonic() - began < 3


def test_tunnels_end_with_the_proxy(site):
    with outbound_proxy(USE, allow=allowed(site)) as proxy:
        parts = urlsplit(proxy.url)
        secret = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")["proxy-authorization"]
        connection = socket.create_connection(("127.0.0.1", parts.port), timeout=5)
        head = f"CONNECT {site.endpoint} HTTP/1.1\r\nProxy-Authorization: {secret}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")

    assert connection.recv(100) == b""
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", parts.port), timeout=5)


def test_settings_hold_the_allow_list(site, settings):
    settings.OUTBOUND_ALLOW = allowed(site)
    with outbound_proxy(USE) as proxy:
        assert through(proxy).request("GET", f"http://{site.endpoint}/").data == b"ok"
    with outbound_proxy(OutboundUse.TOOL) as proxy:
        assert through(proxy).request("GET", f"http://{site.endpoint}/").status == 403


def test_far_end_that_does_not_answer_is_a_502():
    silent = Listener(port=1)
    with outbound_proxy(USE, allow=allowed(silent)) as proxy:
        assert say(proxy, f"CONNECT {silent.endpoint} HTTP/1.1").split()[1] == "502"


# --- a far end that leaves early ---------------------------------------------------------------------------------


class LeavingFarEnd(httpcore2.AsyncNetworkStream):
    """Sends the pieces that it was given, whatever is asked, and then nothing."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.asked = b""
        self.closed = False

    async def read(self, max_bytes, timeout=None):  # noqa: ASYNC109 - the interface has it
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, buffer, timeout=None):  # noqa: ASYNC109
        self.asked += buffer

    async def aclose(self):
        self.closed = True


class Lines(httpcore2.AsyncNetworkBackend):
    def __init__(self, far):
        self.far = far

    async def connect_tcp(self, host, port, timeout=None, *_):  # noqa: ASYNC109
        return self.far


@pytest.mark.parametrize(
    ("request_line", "answered"),
    [
        ("GET http://127.0.0.3:9/a HTTP/1.1\r\nHost: 127.0.0.3:9", "HTTP/1.1 2"),
        ("CONNECT 127.0.0.3:9 HTTP/1.1", "HTTP/1.1 200 Connection established"),
    ],
)
def test_what_a_far_end_sent_before_it_left_is_passed_on_and_its_connection_closed(request_line, answered):
    far = LeavingFarEnd(b"HTTP/1.1 2")
    with outbound_proxy(USE, allow={USE.value: frozenset({"127.0.0.3:9"})}, network=Lines(far)) as proxy:
        assert say(proxy, request_line) == answered

    assert far.closed
    assert far.asked.startswith(b"GET /a HTTP/1.1\r\n") == request_line.startswith("GET")
