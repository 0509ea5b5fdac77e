"""The edge over real HTTP: first logins on the network and behind a proxy that ends TLS, wrong hosts, other origins."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.contrib.sessions.models import Session

from accounts.models import User
from magnet.embedded.server import free_port
from magnet.tests.web import Visitor, web_process

pytestmark = pytest.mark.django_db

EMAIL, PASSWORD = "ada@magnet.test", "a password of the first login"
PUBLIC = "https://magnet.test"


@pytest.fixture(scope="module")
def ada(django_db_setup: None, django_db_blocker: Any) -> Iterator[User]:
    """Committed, as another process reads her row."""
    with django_db_blocker.unblock():
        user = User.objects.create(email=EMAIL, password=make_password(PASSWORD, hasher=Argon2PasswordHasher()))
        yield user
        user.delete()
        Session.objects.all().delete()


class Proxy:
    """A proxy that would end TLS: adds what such a proxy adds, and passes the bytes on. It listens on 127.0.0.3."""

    def __init__(self, target: str, *, keep_host: bool) -> None:
        self.host, _, port = target.partition("://")[2].partition(":")
        self.target_port = int(port)
        self.keep_host = keep_host
        self.port = free_port()
        self.url = f"http://127.0.0.3:{self.port}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        length = next((int(line[15:]) for line in head if line.lower().startswith("content-length:")), 0)
        kept = [line for line in head if self.keep_host or not line.lower().startswith("host:")]
        added = [] if self.keep_host else [f"Host: {self.host}:{self.target_port}"]
        added += ["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9", "Connection: close"]
        back, to = await asyncio.open_connection(self.host, self.target_port, local_addr=("127.0.0.3", 0))
        to.write("\r\n".join([*kept, *added, "", ""]).encode() + await reader.readexactly(length))
        writer.write(await back.read())
        await writer.drain()
        writer.close()
        to.close()

    def __enter__(self) -> "Proxy":
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(asyncio.start_server(self._pass, "127.0.0.3", self.port))
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="module")
def lan(ada: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web process on an address of the network, known by it."""
    folder = tmp_path_factory.mktemp("lan")
    with web_process(folder, host="127.0.0.2", PUBLIC_URL="http://127.0.0.2:PORT") as address:
        yield address


@pytest.fixture(scope="module")
def behind(ada: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web process behind 127.0.0.3, which ends TLS."""
    folder = tmp_path_factory.mktemp("behind")
    with web_process(folder, PUBLIC_URL=PUBLIC, TRUSTED_PROXIES="127.0.0.3") as address:
        yield address


def test_login_works_over_plain_http_on_an_address_of_the_network(lan: str) -> None:
    visitor = Visitor(lan)

    page = visitor.sign_in(EMAIL, PASSWORD)

    assert (page.status_code, "Sign out" in page.text) == (200, True)
    flags = {name: flags.lower() for name, (_, flags) in visitor.cookies.items()}
    assert set(flags) == {"csrftoken", "sessionid"}
    assert all("samesite=lax" in one and "secure" not in one for one in flags.values())
    assert "httponly" in flags["sessionid"]
    assert "strict-transport-security" not in page.headers


@pytest.mark.parametrize("keep_host", [True, False], ids=["keeps Host", "rewrites Host"])
def test_login_works_behind_a_proxy_that_ends_tls(behind: str, keep_host: bool) -> None:
    with Proxy(behind, keep_host=keep_host) as proxy:
        visitor = Visitor(PUBLIC, via=proxy.url)

        page = visitor.sign_in(EMAIL, PASSWORD)

    assert (page.status_code, "Sign out" in page.text) == (200, True)
    flags = {name: flags.lower() for name, (_, flags) in visitor.cookies.items()}
    assert set(flags) == {"csrftoken", "sessionid"}
    assert all("secure" in one and "samesite=lax" in one for one in flags.values())
    assert page.headers["strict-transport-security"] == "max-age=31536000"


def test_forwarded_headers_of_others_do_not_count(behind: str) -> None:
    stranger = Visitor("http://localhost", via=behind)

    page = stranger.request("GET", "/panel/login/", headers={"X-Forwarded-Proto": "https"})

    assert "strict-transport-security" not in page.headers


def test_form_that_came_by_http_is_told_the_address_and_the_setting(behind: str) -> None:
    page = Visitor("http://localhost", via=behind).sign_in(EMAIL, PASSWORD)

    assert page.status_code == 403
    assert f"Open {PUBLIC}" in page.text
    assert "TRUSTED_PROXIES" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_form_from_another_address_is_told_the_setting(lan: str) -> None:
    visitor = Visitor(lan)
    page = visitor.request("GET", "/panel/login/")
    assert page.status_code == 200

    refused = visitor.request("POST", "/panel/login/", headers={"Origin": "https://magnet.test"})

    assert refused.status_code == 403
    assert f"Set PUBLIC_URL to the address in your address bar; now it is {lan}" in refused.text
    assert "sessionid" not in visitor.cookies


@pytest.mark.parametrize("host", ["192.168.1.9:8000", "evil.test", "127.0.0.2.evil.test", "a_b", "x" * 300])
def test_wrong_host_is_told_the_setting_and_not_its_own_name(lan: str, host: str) -> None:
    page = Visitor(f"http://{host}", via=lan).request("GET", "/panel/login/")

    assert page.status_code == 400
    assert "PUBLIC_URL" in page.text
    assert lan in page.text
    assert host not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_forwarded_host_does_not_count(behind: str) -> None:
    page = Visitor("http://localhost", via=behind).request(
        "GET", "/panel/", headers={"X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test;proto=https"}
    )

    assert page.status_code == 302
    assert "evil" not in page.headers["location"]
