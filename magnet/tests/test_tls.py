"""The first login on a fresh production platform behind a proxy that really ends TLS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.tests.listener import make_certificate
from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.valkey import EmbeddedValkey
from magnet.tests.platform import READY_SECONDS, Platform, wait_for
from magnet.tests.test_settings import SAFE
from magnet.tests.web import Proxy, Visitor, web_process

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(240)]
EMAIL = "ada@magnet.test"
NAME = "magnet.lan"
ELSEWHERE = "https://magnet.test"


@dataclass
class Site:
    """A platform, its proxy, and the password that its first start showed."""

    platform: Platform
    proxy: Proxy
    certificate: Path
    password: str

    @property
    def public(self) -> str:
        return f"https://localhost:{self.proxy.port}"

    def visitor(self, address: str = "", proxy: Proxy | None = None) -> Visitor:
        return Visitor(address or self.public, via=(proxy or self.proxy).url, trusted=self.certificate)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = make_certificate(folder, "localhost", NAME)
    platform = Platform(folder, **SAFE, ADMIN_EMAIL=EMAIL, TRUSTED_PROXIES="127.0.0.3")
    with Proxy(f"http://127.0.0.1:{platform.port}", keep_host=True, certificate=certificate) as proxy:
        platform.variables["PUBLIC_URL"] = f"https://localhost:{proxy.port}"
        migrated = platform.manage("migrate")
        assert migrated.returncode == 0, migrated.stderr
        platform.start()
        wait_for(lambda: "READY" in platform.text() or platform.ended(), READY_SECONDS)
        assert f"READY https://localhost:{proxy.port}" in platform.text().splitlines(), platform.text()
        yield Site(platform, proxy, certificate, str(platform.password()))
        platform.terminate()


def test_printed_password_opens_the_admin_over_tls(site: Site) -> None:
    visitor = site.visitor()

    asked = visitor.request("GET", "/admin/")
    page = visitor.sign_in(EMAIL, site.password, then="/admin/")

    assert (asked.status_code, "/login/" in asked.headers["location"]) == (302, True)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert EMAIL in page.text
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    flags = {name: [one.strip().lower() for one in flags.split(";")] for name, (_, flags) in visitor.cookies.items()}
    assert set(flags) == {"csrftoken", "sessionid"}
    assert all({"secure", "samesite=lax"} <= set(one) for one in flags.values())
    assert "httponly" in flags["sessionid"]


def test_every_kind_of_answer_carries_hsts(site: Site) -> None:
    visitor = site.visitor()

    answers = [visitor.request("GET", path) for path in ("/", "/panel/login/", "/admin/", "/nowhere/", "/api/v1/runs/")]
    answers.append(visitor.request("POST", "/panel/login/", content="a=b"))

    assert {one.status_code for one in answers} >= {200, 302, 401, 403, 404}
    assert [one.headers.get("strict-transport-security") for one in answers] == ["max-age=31536000"] * len(answers)


def test_form_without_its_token_is_refused(site: Site) -> None:
    visitor = site.visitor()
    visitor.request("GET", "/panel/login/")

    refused = visitor.request("POST", "/panel/login/", data={"username": EMAIL, "password": site.password})

    assert refused.status_code == 403
    assert "sessionid" not in visitor.cookies


@pytest.mark.browser
def test_browser_signs_in_and_its_session_stays_with_https(site: Site, chromium: Any) -> None:
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()

    page.goto(f"{site.public}/admin/")
    page.fill("input[name=username]", EMAIL)
    page.fill("input[name=password]", site.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url("**/admin/")

    assert page.locator("text=Sign out").count() + page.locator("text=Log out").count() > 0
    session = next(one for one in context.cookies() if one["name"] == "sessionid")
    assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Lax")
    context.close()


@pytest.fixture(scope="module")
def misnamed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web process of the same platform, whose PUBLIC_URL is not the address that people open."""
    data = DataDir(site.platform.data_dir)
    variables = {**site.platform.variables, "PUBLIC_URL": ELSEWHERE}
    del variables["PORT"]
    urls = {"DATABASE_URL": str(EmbeddedPostgres(data).url), "REDIS_URL": str(EmbeddedValkey(data).url)}
    with web_process(tmp_path_factory.mktemp("misnamed"), **variables, **urls) as address:
        yield address


def test_wrong_public_url_is_named_where_the_address_is_unknown(site: Site, misnamed: str) -> None:
    with Proxy(misnamed, keep_host=True, certificate=site.certificate) as proxy:
        page = site.visitor(f"https://{NAME}:{proxy.port}", proxy).request("GET", "/panel/login/")

    assert page.status_code == 400
    assert f"Set PUBLIC_URL to the address in your address bar; now it is {ELSEWHERE}" in page.text
    assert NAME not in page.text


def test_wrong_public_url_is_named_where_the_form_is_refused(site: Site, misnamed: str) -> None:
    with Proxy(misnamed, keep_host=False, certificate=site.certificate) as proxy:
        visitor = site.visitor(f"https://{NAME}:{proxy.port}", proxy)
        page = visitor.sign_in(EMAIL, site.password)

    assert page.status_code == 403
    assert f"Set PUBLIC_URL to the address in your address bar; now it is {ELSEWHERE}" in page.text
    assert "sessionid" not in visitor.cookies
