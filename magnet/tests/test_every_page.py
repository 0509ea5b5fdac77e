"""Every address, seen by an admin, by a visitor and as an error: headers, policy, cookies, and no secret anywhere."""

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings

from accounts.models import User
from core.access import Role
from core.fields import EncryptedTextField
from core.logging import JsonFormatter
from llm.models import Model, Provider
from magnet.tests.admin_world import World, signed_in
from magnet.tests.scripted_provider import Exchange
from magnet.tests.scripted_vendors import VendorServer
from magnet.tests.walk import addresses
from observability.models import Run, Trace

pytestmark = pytest.mark.django_db

SENTINEL = "sk-sentinel-Zk83hVq2Lw9TbNf5xQ7jW"
SECOND = "sk-sentinel-Pm41xRc7Ds6YgJe0vK4zN"
WRONG = "sk-sentinel-Hu29aKo8Bt3MvXi1pR8hD"
# Nothing in these looks like a key: what hides them knows them.
OTHER = "Yq7 second secret Wd3Fj0"
TEAM = "team sentinel Xn5Gk8Lu2"
# Each field that is stored encrypted, as the provider of this walk has it.
FIELDS = {"api_key": SENTINEL, "secret": OTHER, "headers": {"X-Team": TEAM}}
# Each secret that only the environment holds. The vendors' and the collector's are called in tests of their own.
ENVIRONMENT = {
    "OPENAI_API_KEY": "openai-sentinel-Cv6Tm1",
    "EMAIL_HOST_PASSWORD": "mail-sentinel-Rb9Ks4",
    "OTEL_EXPORTER_OTLP_HEADERS": {"authorization": "otlp-sentinel-Jz2Pw7"},
    "SENTRY_DSN": "https://sentry-sentinel-Uf8@localhost/1",
}
# What its routes alone do not lead to.
MORE_PAGES = (
    "/panel/password/?set",
    "/admin/observability/usagerecord/report/?by=user&csv=groups",
    "/admin/observability/usagerecord/report/?by=nothing&zone=Mars",
)
NEWCOMER = "email=new%40example.org&role=user"
HTTPS = {"SECURE_HSTS_SECONDS": 31_536_000, "SESSION_COOKIE_SECURE": True, "CSRF_COOKIE_SECURE": True}
# What may be shown of a secret is its last four characters.
NEVER = [one[:-4] for one in (SENTINEL, SECOND, WRONG, OTHER, TEAM)]
NEVER += [one[-5:] for one in (SENTINEL, SECOND, WRONG, OTHER, TEAM)]
NEVER += ["openai-sentinel", "mail-sentinel", "otlp-sentinel", "sentry-sentinel"]


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
    """never: what may stand nowhere. issued, links: a key of the API and links to set a password, shown once."""

    seen: list[Seen] = field(default_factory=list)
    never: list[str] = field(default_factory=lambda: [*NEVER, *of_this_installation()])
    log: str = ""
    issued: str = ""
    links: list[str] = field(default_factory=list)
    told: str = ""
    rows: dict[str, str] = field(default_factory=dict)

    def pages(self) -> list[Seen]:
        return [one for one in self.seen if one.is_page]


def of_this_installation() -> list[str]:
    """The secrets that the processes of these tests really run with."""
    keys = [one.partition(":")[2] for one in settings.ENCRYPTION_KEYS]
    return [settings.SECRET_KEY, *keys, *filter(None, [connection.settings_dict["PASSWORD"]])]


async def echo(exchange: Exchange) -> None:
    """A vendor that repeats whatever it is sent."""
    said = json.dumps({"headers": exchange.call.headers, "body": exchange.call.body})
    await exchange.json(401, {"error": {"message": f"Who are you? {said}", "type": said}})


def look(walked: Walked, who: str, client: Client, method: str, path: str, **options: Any) -> Any:
    answer = client.generic(method, path, secure=True, **options)
    body = whole(answer).decode(errors="replace")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    walked.seen.append(Seen(who, method, path, answer.status_code, headers, body, answer.cookies))
    return answer


def whole(answer: Any) -> bytes:
    if not answer.streaming:
        return bytes(answer.content)
    return async_to_sync(_read)(answer) if answer.is_async else b"".join(answer)


async def _read(answer: Any) -> bytes:
    return b"".join([part async for part in answer])


def store_secrets(walked: Walked, client: Client, world: World, base_url: str) -> None:
    """Keys come in by the API and by the admin, well and badly, once and again."""
    api: dict[str, Any] = {"content_type": "application/json", "headers": {"X-Workspace": world.workspace.slug}}
    good = {"name": "Vendor", "slug": "vendor", "type": "openai", "base_url": base_url, **FIELDS}
    made = look(walked, "admin", client, "POST", "/api/v1/providers/", data=json.dumps(good), **api)
    assert made.status_code == 201, made.content
    path = f"/api/v1/providers/{made.json()['id']}/"
    for body in (
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "base_url": "http://127.0.0.2/", "api_key": "{WRONG}"}}',
        f'{{"name": "Bad", "slug": "bad", "type": "{WRONG[:3]}", "api_key": ["{WRONG}"]}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "api_key": "{WRONG * 200}"}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "secret": ["{WRONG}"]}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "headers": ["{WRONG}"]}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "headers": {{"Host": "{WRONG}"}}}}',
        f'{{"name": "Bad", "slug": "bad", "type": "openai", "headers": {{"X-Team": "{WRONG}é"}}}}',
        f'{{"name": "Bad", "slug": "bad", "api_key": "{WRONG}"',
    ):
        assert look(walked, "admin", client, "POST", "/api/v1/providers/", data=body, **api).status_code == 400
    headers = {**api["headers"], "If-Match": made.headers["ETag"]}
    assert look(walked, "admin", client, "PATCH", path, data="{}", **{**api, "headers": headers}).status_code == 200
    form = f"/admin/llm/provider/{made.json()['id']}/change/"
    shown = client.get(form)
    assert shown.status_code == 200
    for bad in ({"headers": f"X-Team {WRONG}"}, {"headers": f"Host: {WRONG}"}, {"api_key": WRONG, "name": ""}):
        assert look_at_form(walked, client, form, {**shown.context["adminform"].form.initial, **bad}).status_code == 200
    initial = {name: one for name, one in shown.context["adminform"].form.initial.items() if name not in FIELDS}
    values = {**initial, "api_key": SECOND, "is_active": "on"}
    answer = client.post(form, {name: value for name, value in values.items() if value is not None})
    assert (answer.status_code, Provider._unscoped.get(pk=made.json()["id"]).api_key.reveal()) == (302, SECOND)
    once = {**api, "headers": {**api["headers"], "Idempotency-Key": "walk"}}
    walked.issued = client.generic("POST", "/api/v1/api-keys/", '{"name": "walk"}', **once).json()["key"]
    world.rows[Provider] = Provider._unscoped.get(pk=made.json()["id"])


def look_at_form(walked: Walked, client: Client, path: str, values: dict[str, Any]) -> Any:
    body = "&".join(f"{name}={quote(str(value))}" for name, value in values.items() if value is not None)
    return look(walked, "admin", client, "POST", path, data=body, content_type="application/x-www-form-urlencoded")


def call_the_vendor(walked: Walked, client: Client, world: World) -> None:
    """Every credential is used, and comes back in the vendor's refusal; a run and a trace keep what is kept."""
    api: dict[str, Any] = {"content_type": "application/json", "headers": {"X-Workspace": world.workspace.slug}}
    body = {"name": "Echo", "slug": "echo", "kind": "chat", "identifier": "echo", "provider": "vendor"}
    made = look(walked, "admin", client, "POST", "/api/v1/models/", data=json.dumps(body), **api)
    assert made.status_code == 201, made.content
    for path in ("models/echo/test", "providers/vendor/available-models"):
        assert look(walked, "refused", client, "POST", f"/api/v1/{path}", **api).status_code == 502
    chat = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    for options in ({}, {"stream": True}):
        look(walked, "refused", Client(headers={"Authorization": f"Bearer {walked.issued}"}), "POST",
             "/v1/chat/completions", data=json.dumps({**chat, **options}), content_type="application/json")  # fmt: skip
    world.rows[Model] = Model._unscoped.get(pk=made.json()["id"])
    runs = Run._unscoped.filter(workspace=world.workspace).order_by("-pk")
    world.rows |= {Run: runs[0], Trace: Trace._unscoped.get(pk=runs[0].trace_id)}


def make_links(walked: Walked, client: Client, world: World) -> None:
    """Links to set a password, which a superuser is shown once."""
    person = world.member(Role.USER)
    form = "application/x-www-form-urlencoded"
    asked = [(f"/admin/accounts/user/{person.pk}/reset-link/", ""), ("/admin/accounts/membership/add/", NEWCOMER)]
    pages = [look(walked, "link", client, "POST", path, data=data, content_type=form) for path, data in asked]
    walked.links = [found for page in pages for found in re.findall(r"\?set#([^<\s\"]+)", page.content.decode())]


def walk(world: World, vendor: VendorServer) -> Walked:
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
        store_secrets(walked, client, world, vendor.url)
        call_the_vendor(walked, client, world)
        look(walked, "stranger", Client(), "POST", "/panel/login/", data=f"username={person.email}&password={WRONG}",
             content_type="application/x-www-form-urlencoded")  # fmt: skip
        make_links(walked, client, world)
        for path in [*addresses(world), *MORE_PAGES]:
            look(walked, "admin", client, "GET", path)
            look(walked, "visitor", Client(), "GET", path)
        errors(walked, client)
        walked.rows = rows_as_text()
        walked.told = told_by_commands()
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


def told_by_commands() -> str:
    """What people at the server's terminal read, and may send to somebody for help."""
    told = io.StringIO()
    for command in (["doctor"], ["doctor", "--json"], ["check_integrity", "--json"]):
        # With a mail server that lets nobody in, of which there is something to say.
        with override_settings(EMAIL_HOST="127.0.0.1"), contextlib.suppress(CommandError, SystemExit):
            call_command(*command, stdout=told, stderr=told)
    return told.getvalue()


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
    with django_db_blocker.unblock(), VendorServer(echo) as vendor:
        allow = {"provider": frozenset({vendor.endpoint})}
        with override_settings(OUTBOUND_ALLOW=allow, EMAIL_HOST="", EMAIL_PORT=1, **HTTPS, **ENVIRONMENT):
            found = walk(worlds[0], vendor)
        yield found


def test_walk_comes_to_pages_of_all_kinds(walked: Walked) -> None:
    statuses = {one.status for one in walked.pages()}

    assert len([one for one in walked.pages() if one.status == 200]) > 60
    assert {200, 400, 403, 404, 405, 500} <= statuses
    assert [one.name for one in walked.seen if one.status >= 500 and one.who not in ("failing", "refused")] == []


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
        "strict-transport-security": "max-age=31536000",
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
    assert all(morsel["secure"] for morsel in cookies)
    assert all(morsel["httponly"] for morsel in cookies if morsel.key != "csrftoken")


def test_walk_stores_a_sentinel_in_every_field_that_is_encrypted(walked: Walked) -> None:
    """A field that is new has to come into this walk."""
    encrypted = {
        f"{model._meta.label}.{one.name}"
        for model in apps.get_models()
        for one in model._meta.fields
        if isinstance(one, EncryptedTextField)
    }

    # The answers of Idempotency-Key hold the text of a new key, which test_secret_is_in_no_row looks for.
    assert encrypted == {*(f"llm.Provider.{name}" for name in FIELDS), "core.StoredAnswer.answer"}


def test_vendor_was_shown_every_credential(walked: Walked) -> None:
    """Else all that follows would pass because nothing was sent."""
    told = [one for one in walked.seen if "Who are you?" in one.body]

    assert {one.path for one in told} >= {"/api/v1/models/echo/test", "/api/v1/providers/vendor/available-models"}
    assert all("x-team" in one.body for one in told)


def test_link_is_shown_once_and_written_down_nowhere(walked: Walked) -> None:
    assert len(walked.links) == 2
    for link in walked.links:
        assert [one.who for one in walked.seen if link in one.body] == ["link"]
        assert link not in walked.log
        assert [name for name, text in walked.rows.items() if link in text] == []


def test_secret_is_in_no_answer(walked: Walked) -> None:
    assert [one.name for one in walked.seen if any(part in one.body for part in walked.never)] == []
    assert any(SECOND[-4:] in one.body for one in walked.seen)


def test_secret_is_in_no_log_line(walked: Walked) -> None:
    assert "Bad Request" in walked.log
    assert [line for line in walked.log.splitlines() if any(part in line for part in walked.never)] == []
    assert walked.issued.rpartition("_")[2] not in walked.log


def test_secret_is_in_nothing_that_commands_say(walked: Walked) -> None:
    assert "Mail" in walked.told
    assert [part for part in walked.never if part in walked.told] == []


def test_secret_is_in_no_row(walked: Walked) -> None:
    secret_of_key = walked.issued.rpartition("_")[2]

    assert "enc1:" in walked.rows["llm_provider"]
    assert [name for name, text in walked.rows.items() if any(part in text for part in walked.never)] == []
    assert [name for name, text in walked.rows.items() if secret_of_key in text] == []
