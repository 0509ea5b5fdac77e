"""The edge over real HTTP: first logins on the network and behind a proxy that ends TLS, wrong hosts, other origins."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password

from accounts.models import ApiKey, User, Workspace
from accounts.tests.factories import MembershipFactory, WorkspaceFactory
from core.access import Role
from magnet.tests.committed import remove_rows
from magnet.tests.web import Proxy, Visitor, web_process

pytestmark = pytest.mark.django_db

EMAIL, PASSWORD = "ada@magnet.test", "a password of the first login"
PUBLIC = "https://magnet.test"
SPA = "https://spa.test"
STRANGERS = ["https://evil.test", "null", f"{SPA}.evil.test", "http://spa.test", f"{SPA}:8443", "https://a.spa.test"]


@pytest.fixture(scope="module")
def ada(django_db_setup: None, django_db_blocker: Any) -> Iterator[User]:
    """Committed, as another process reads her row."""
    with django_db_blocker.unblock():
        user = User.objects.create(email=EMAIL, password=make_password(PASSWORD, hasher=Argon2PasswordHasher()))
        MembershipFactory(user=user, workspace=WorkspaceFactory(slug="edge"), role=Role.ADMIN)
        yield user
        remove_rows()


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
    with web_process(folder, PUBLIC_URL=PUBLIC, TRUSTED_PROXIES="127.0.0.3", CORS_ALLOWED_ORIGINS=SPA) as address:
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
    assert all("secure" in one and "samesite=none" in one for one in flags.values())
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


@pytest.fixture
def member(behind: str) -> Iterator[Visitor]:
    """Ada's browser with her session, as a script on any page would use it: cookies go along."""
    with Proxy(behind, keep_host=True) as proxy:
        visitor = Visitor(PUBLIC, via=proxy.url)
        visitor.sign_in(EMAIL, PASSWORD)
        yield visitor


def token_of(visitor: Visitor) -> str:
    return str(visitor.request("GET", "/api/v1/session/").json()["csrf_token"])


def cors_headers(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(visitor: Visitor, origin: str, path: str = "/api/v1/api-keys/") -> httpx2.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-csrftoken"}
    return visitor.request("OPTIONS", path, headers={"Origin": origin, **asked})


def keys(name: str) -> Any:
    return ApiKey.objects.for_workspace(Workspace.objects.get(slug="edge").pk).filter(name=name)


def make_key(visitor: Visitor, name: str, **headers: str) -> httpx2.Response:
    return visitor.request("POST", "/api/v1/api-keys/", json={"name": name}, headers=headers)


@pytest.mark.parametrize("origin", STRANGERS)
def test_origin_that_is_not_listed_learns_and_changes_nothing(member: Visitor, origin: str) -> None:
    token = token_of(member)

    asked = preflight(member, origin)
    read = member.request("GET", "/api/v1/session/", headers={"Origin": origin})
    refused = make_key(member, "stranger", **{"Origin": origin, "Referer": f"{origin}/", "X-CSRFToken": token})

    assert [cors_headers(answer) for answer in (asked, read, refused)] == [{}, {}, {}]
    assert refused.status_code == 403
    assert not keys("stranger").exists()


def test_listed_origin_reads_and_writes_with_the_session_and_its_token(member: Visitor) -> None:
    asked = preflight(member, SPA)
    read = member.request("GET", "/api/v1/session/", headers={"Origin": SPA})
    token = read.json()["csrf_token"]
    made = make_key(member, "from the application", **{"Origin": SPA, "Referer": f"{SPA}/", "X-CSRFToken": token})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == SPA
    assert asked.headers["access-control-allow-credentials"] == "true"
    assert {"x-csrftoken", "x-workspace", "idempotency-key"} <= set(
        asked.headers["access-control-allow-headers"].split(", ")
    )
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, SPA)
    assert "origin" in read.headers["vary"].lower()
    assert "X-Request-Id" in read.headers["access-control-expose-headers"]
    assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, SPA)
    assert keys("from the application").count() == 1


def test_visitor_on_the_listed_origin_gets_the_token_to_log_in_with(behind: str) -> None:
    with Proxy(behind, keep_host=True) as proxy:
        visitor = Visitor(PUBLIC, via=proxy.url)
        from_spa = {"Origin": SPA, "Referer": f"{SPA}/"}
        who = visitor.request("GET", "/api/v1/session/", headers=from_spa)
        credentials = {"email": EMAIL, "password": PASSWORD}
        without = visitor.request("POST", "/api/v1/session/", json=credentials, headers=from_spa)
        headers = {**from_spa, "X-CSRFToken": who.json()["csrf_token"]}
        logged_in = visitor.request("POST", "/api/v1/session/", json=credentials, headers=headers)

    assert (who.status_code, who.headers["access-control-allow-origin"]) == (401, SPA)
    assert (without.status_code, logged_in.status_code) == (403, 200)
    assert logged_in.json()["user"]["email"] == EMAIL


def test_post_without_the_token_changes_nothing(member: Visitor) -> None:
    answers = [
        make_key(member, "no token"),
        make_key(member, "no token", Origin=SPA, Referer=f"{SPA}/"),
        make_key(member, "no token", **{"X-CSRFToken": "x" * 64}),
        make_key(member, "no token", **{"X-CSRFToken": member.cookies["csrftoken"][0][:-1]}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert not keys("no token").exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_json_under_a_type_that_needs_no_preflight_changes_nothing(member: Visitor, kind: str) -> None:
    body = b'{"name": "simple request"}'
    headers = {"Origin": SPA, "Content-Type": kind}

    without = member.request("POST", "/api/v1/api-keys/", content=body, headers=headers)
    token = token_of(member)
    answer = member.request("POST", "/api/v1/api-keys/", content=body, headers={**headers, "X-CSRFToken": token})

    assert without.status_code == 403
    assert answer.status_code == 415
    assert not keys("simple request").exists()


def test_pages_are_for_no_other_origin(member: Visitor) -> None:
    for path in ("/panel/", "/admin/", "/health/live", "/panel/login/"):
        assert cors_headers(member.request("GET", path, headers={"Origin": SPA})) == {}
        assert cors_headers(preflight(member, SPA, path)) == {}
