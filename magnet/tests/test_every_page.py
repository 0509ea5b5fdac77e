"""Every address, seen by an admin, by a visitor and as an error: headers, policy, cookies, and no secret anywhere."""

import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from core.access import Role
from core.logging import JsonFormatter
from llm.models import Provider
from magnet.tests.admin_world import World, signed_in
from magnet.tests.walk import addresses

pytestmark = pytest.mark.django_db

SENTINEL = "sk-sentinel-Zk83hVq2Lw9TbNf5xQ7jW"
SECOND = "sk-sentinel-Pm41xRc7Ds6YgJe0vK4zN"
WRONG = "sk-sentinel-Hu29aKo8Bt3MvXi1pR8hD"
# What may be shown of a secret is its last four characters.
NEVER = [one[:-4] for one in (SENTINEL, SECOND, WRONG)] + [one[-5:] for one in (SENTINEL, SECOND, WRONG)]


@dataclass
class Seen:
    """One answer."""

    who: str
    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: str
    cookies: SimpleCookie

    @property
    def name(self) -> str:
        return f"{self.who} {self.method} {self.path} {self.status}"

    @property
    def is_page(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/html")

    @property
    def policy(self) -> dict[str, list[str]]:
        parts = [part.split() for part in self.headers["content-security-policy"].split(";")]
        return {part[0]: part[1:] for part in parts if part}


@dataclass
class Walked:
    seen: list[Seen] = field(default_factory=list)
    log: str = ""
    issued: str = ""
    rows: dict[str, str] = field(default_factory=dict)

    def pages(self) -> list[Seen]:
        return [one for one in self.seen if one.is_page]


def look(walked: Walked, who: str, client: Client, method: str, path: str, **options: Any) -> Any:
    answer = client.generic(method, path, **options)
    body = "" if answer.streaming else answer.content.decode(errors="replace")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    walked.seen.append(Seen(who, method, path, answer.status_code, headers, body, answer.cookies))
    return answer


def store_secrets(walked: Walked, client: Client, slug: str) -> None:
    """Keys come in by the API and by the admin, well and badly, once and again."""
    api: dict[str, Any] = {"content_type": "application/json", "headers": {"X-Workspace": slug}}
    good = f'{{"name": "Vendor", "slug": "vendor", "type": "openai", "api_key": "{SENTINEL}"}}'
    made = look(walked, "admin", client, "POST", "/api/v1/providers/", data=good, **api)
    assert made.status_code == 201, made.content
    path = f"/api/v1/providers/{made.json()['id']}/"
    for body in (
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "base_url": "http://127.0.0.2/", "api_key": "{WRONG}"}}',
        f'{{"name": "Bad", "slug": "bad", "type": "{WRONG[:3]}", "api_key": ["{WRONG}"]}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "api_key": "{WRONG * 200}"}}',
        f'{{"name": "Bad", "slug": "bad", "api_key": "{WRONG}"',
    ):
        assert look(walked, "admin", client, "POST", "/api/v1/providers/", data=body, **api).status_code == 400
    headers = {**api["headers"], "If-Match": made.headers["ETag"]}
    assert look(walked, "admin", client, "PATCH", path, data="{}", **{**api, "headers": headers}).status_code == 200
    form = f"/admin/llm/provider/{made.json()['id']}/change/"
    shown = client.get(form)
    values = {**shown.context["adminform"].form.initial, "api_key": SECOND, "is_active": "on"}
    answer = client.post(form, {name: value for name, value in values.items() if value is not None})
    assert (answer.status_code, Provider._unscoped.get(pk=made.json()["id"]).api_key.reveal()) == (302, SECOND)
    once = {**api, "headers": {**api["headers"], "Idempotency-Key": "walk"}}
    walked.issued = client.generic("POST", "/api/v1/api-keys/", '{"name": "walk"}', **once).json()["key"]


def walk(world: World) -> Walked:
    walked = Walked()
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        person = world.member(Role.ADMIN)
        User.objects.filter(pk=person.pk).update(is_superuser=True)
        client = signed_in(User.objects.get(pk=person.pk))
        store_secrets(walked, client, world.workspace.slug)
        for path in addresses(world):
            look(walked, "admin", client, "GET", path)
            look(walked, "visitor", Client(), "GET", path)
        errors(walked, client)
        walked.rows = rows_as_text()
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    walked.log = log.getvalue()
    return walked


def errors(walked: Walked, client: Client) -> None:
    look(walked, "stranger", Client(headers={"host": "evil.test"}), "GET", "/panel/")
    look(walked, "stranger", Client(headers={"host": "evil.test"}), "GET", "/admin/")
    forger = Client(enforce_csrf_checks=True)
    for path in ("/panel/login/", "/admin/login/", "/admin/llm/provider/add/"):
        look(walked, "forger", forger, "POST", path, data="a=b", content_type="application/x-www-form-urlencoded")
    look(walked, "admin", client, "GET", "/panel/no-such-page/")
    look(walked, "admin", client, "POST", "/panel/", data="a=b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("panel.views._runnable", lambda _principal: 1 / 0)
        failing = Client(raise_request_exception=False)
        failing.cookies = client.cookies
        look(walked, "failing", failing, "GET", "/panel/")


def rows_as_text() -> dict[str, str]:
    """Every row of every table, as the database would write it down."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            name = connection.ops.quote_name(table)
            cursor.execute(f"SELECT coalesce(string_agg(one::text, ' '), '') FROM {name} one")
            found[table] = cursor.fetchone()[0]
    return found


@pytest.fixture(scope="module")
def walked(worlds: tuple[World, World], django_db_blocker: Any) -> Iterator[Walked]:
    with django_db_blocker.unblock():
        yield walk(worlds[0])


def test_walk_comes_to_pages_of_all_kinds(walked: Walked) -> None:
    statuses = {one.status for one in walked.pages()}

    assert len([one for one in walked.pages() if one.status == 200]) > 60
    assert {200, 400, 403, 404, 405, 500} <= statuses
    assert [one.name for one in walked.seen if one.status >= 500 and one.who != "failing"] == []


def test_no_page_lets_foreign_or_inline_code_in(walked: Walked) -> None:
    for page in walked.pages():
        scripts = page.policy["script-src"]
        assert "'unsafe-inline'" not in scripts, page.name
        assert page.path.startswith("/admin/") or "'unsafe-eval'" not in scripts, page.name
        assert all(one == "'self'" or one.startswith(("'nonce-", "'unsafe-eval'")) for one in scripts), page.name
        assert page.policy["object-src"] == page.policy["base-uri"] == ["'none'"], page.name
        assert page.policy["frame-ancestors"] == ["'none'"], page.name
        assert page.policy["form-action"] == ["'self'"], page.name
        inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page.body)
        assert all(f"'nonce-{nonce_of(tag)}'" in scripts for tag in inline), page.name


def nonce_of(tag: str) -> str:
    found = re.search(r'nonce="([^"]+)"', tag)
    return found[1] if found else "none"


def test_strict_styles_outside_of_the_admin_and_the_api_documentation(walked: Walked) -> None:
    loose = {one.path for one in walked.pages() if one.policy["style-src"] != ["'self'"]}

    assert all(path.startswith(("/admin/", "/api/docs/")) for path in loose)


def test_every_page_carries_the_security_headers(walked: Walked) -> None:
    expected = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "x-frame-options": "DENY",
    }
    for page in walked.seen:
        assert {name: page.headers.get(name) for name in expected} == expected, page.name
        assert "camera=()" in page.headers["permissions-policy"], page.name
        assert page.policy["frame-ancestors"] == ["'none'"], page.name
        assert "x-request-id" in page.headers, page.name


def test_every_cookie_is_bound_to_our_site(walked: Walked) -> None:
    cookies = [morsel for one in walked.seen for morsel in one.cookies.values() if morsel.value]

    assert {morsel.key for morsel in cookies} >= {"csrftoken"}
    assert all(morsel["samesite"] == "Lax" for morsel in cookies)
    assert all(morsel["httponly"] for morsel in cookies if morsel.key != "csrftoken")


def test_secret_is_in_no_answer(walked: Walked) -> None:
    assert [one.name for one in walked.seen if any(part in one.body for part in NEVER)] == []
    assert any(SECOND[-4:] in one.body for one in walked.seen)


def test_secret_is_in_no_log_line(walked: Walked) -> None:
    assert "Bad Request" in walked.log
    assert [line for line in walked.log.splitlines() if any(part in line for part in NEVER)] == []
    assert walked.issued.rpartition("_")[2] not in walked.log


def test_secret_is_in_no_row(walked: Walked) -> None:
    secret_of_key = walked.issued.rpartition("_")[2]

    assert "enc1:" in walked.rows["llm_provider"]
    assert [name for name, text in walked.rows.items() if any(part in text for part in NEVER)] == []
    assert [name for name, text in walked.rows.items() if secret_of_key in text] == []
