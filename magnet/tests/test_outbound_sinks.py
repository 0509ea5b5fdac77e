"""Every place that takes an address × every spelling of an address: nothing is connected to, and no error tells what
listens there. Sockets are recorded where they would be opened, and none is opened; names are answered from a table."""

import ast
import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpcore2
import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from core.outbound_allow import OutboundUse, allow_url
from core.outbound_rules import OutboundRefused, check_url
from core.tests.test_outbound_rules import ANSWERS, REFUSED_SPELLINGS, RecordingNetwork
from llm.models import Provider
from llm.providers.presets import LOCAL, PRESETS
from llm.providers.registry import connect_row
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_vendors import key_file
from magnet.environment import BASE_DIR
from observability.otlp import exporter
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    EmbeddingPurpose,
    EmbeddingRequest,
    MessageRole,
    ProviderFailure,
    RerankRequest,
)

pytestmark = pytest.mark.django_db

# Which modules say what a connection is for, and the sink below that tries it. A new one has to be entered here.
SINKS = {
    ("llm/models.py", "PROVIDER"): "the base URL, as it is saved",
    ("llm/providers/http.py", "PROVIDER"): "the base URL, as it is called; the token_uri of a key file",
    ("llm/providers/openai/provider.py", "PROVIDER"): "the base URL, as it is called",
    ("magnet/settings/base.py", "PROVIDER"): "OPENAI_BASE_URL",
    ("magnet/settings/base.py", "TELEMETRY"): "OTEL_EXPORTER_OTLP_ENDPOINT",
    ("observability/otlp/exporter.py", "TELEMETRY"): "OTEL_EXPORTER_OTLP_ENDPOINT",
}
# Columns that hold an address. Those that are only shown lead nowhere: no server of ours opens them.
ADDRESS_COLUMNS = {"llm.Provider.base_url": "called", "knowledge.Document.url": "shown", "rag.Citation.url": "shown"}

# More of what names the same machines; a saved address is stripped of the spaces around it.
MORE_SPELLINGS = [
    "http://0x7f000002:80/v1",
    "http://127.0.0.2:443/v1",
    "http://[0000::ffff:127.0.0.2]/",
    "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://0251.0376.0251.0376/",
    "http://2852039166/",
    "http://169.254.169.254./",
    "http://metadata.google.internal./computeMetadata/v1/",
    "http://instance-data.ec2.internal/",
    "http://kubernetes.default.svc.cluster.local/",
    "http://127.0.0.2%2f@public.test/",
    "http://127.0.0.2#@public.test/",
    "http://127.0.0.2?@public.test/",
    "http://public.test\x7f/",
    "dict://127.0.0.2:11211/",
    "ldap://127.0.0.2/",
    "unix:///var/run/docker.sock",
]
# Nothing to refuse when an address is saved: they are public names, and only the look-up says where they lead.
NAMES = ["http://private.test/", "https://mixed.test/v1", "http://mapped.test/", "https://zone.test/"]
SPELLINGS = [one for one in (*REFUSED_SPELLINGS, *MORE_SPELLINGS) if one]

# What an error may not hold: that something answered, or how it failed.
TELLING = re.compile(r"(?i)refused the connection|connection refused|timed? ?out|cannot be reached|errno|no route")


class Recording:
    """Where sockets would have been opened since the test began."""

    def __init__(self) -> None:
        self.network = RecordingNetwork()

    @property
    def connected(self) -> list[tuple[str, int]]:
        return self.network.connected


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Recording:
    """The sockets of the checked clients, and the system's resolver, for the names of the table."""
    found = Recording()
    settings.OUTBOUND_ALLOW = {}
    resolve = socket.getaddrinfo

    def from_table(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(".test"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ANSWERS.get(host, ())]
        return resolve(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", from_table)
    monkeypatch.setattr(httpcore2, "AnyIOBackend", lambda: found.network)
    return found


@pytest.fixture
def admin() -> SimpleNamespace:
    """An admin with a key for the API and a session for the admin pages."""
    membership = MembershipFactory(role=Role.ADMIN)
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", scopes=tuple(Scope))
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    browser = Client()
    browser.force_login(membership.user)
    return SimpleNamespace(workspace=membership.workspace, api=api, browser=browser)


@pytest.fixture
def provider(admin: SimpleNamespace) -> Provider:
    row: Provider = ProviderFactory(
        workspace=admin.workspace, slug="vendor", base_url="https://public.test/v1", api_key="sk-of-the-test-0123"
    )
    return row


def test_recorder_sees_what_is_allowed(recording: Recording, admin: SimpleNamespace, provider: Provider) -> None:
    """Else all that follows would pass with a recorder that is blind."""
    answer = admin.api.post("/api/v1/providers/vendor/available-models")

    assert answer.status_code == 502
    assert {address for address, _ in recording.connected} == set(ANSWERS["public.test"])


# --- saved


def names_the_field(problem: dict[str, Any], url: str) -> bool:
    """NUL is refused before there are fields: no text may hold it."""
    return "NUL" in problem["detail"] if "\0" in url else {one["pointer"] for one in problem["errors"]} == {"/base_url"}


def by_api_create(admin: SimpleNamespace, url: str) -> bool:
    body = {"name": "X", "slug": "x", "type": "openai", "base_url": url}
    answer = admin.api.post("/api/v1/providers/", body)
    return answer.status_code == 400 and names_the_field(answer.json(), url)


def by_api_patch(admin: SimpleNamespace, url: str) -> bool:
    answer = admin.api.patch("/api/v1/providers/vendor/", {"base_url": url}, headers={"If-Match": "*"})
    return answer.status_code == 400 and names_the_field(answer.json(), url)


def by_admin_add(admin: SimpleNamespace, url: str) -> bool:
    form = {"name": "X", "slug": "x", "type": "openai", "base_url": url, "is_active": "on"}
    answer = admin.browser.post("/admin/llm/provider/add/", form)
    return answer.status_code == 200 and "base_url" in answer.context["adminform"].form.errors


def by_admin_change(admin: SimpleNamespace, url: str) -> bool:
    row = Provider.objects.for_workspace(admin.workspace.pk).get()
    form = {"name": row.name, "slug": row.slug, "type": "openai", "base_url": url, "is_active": "on"}
    answer = admin.browser.post(f"/admin/llm/provider/{row.pk}/change/", {**form, "expected_version": row.version})
    return answer.status_code == 200 and "base_url" in answer.context["adminform"].form.errors


@pytest.mark.parametrize(
    "save",
    [
        by_api_create,
        by_api_patch,
        pytest.param(by_admin_add, marks=pytest.mark.exhaustive),
        pytest.param(by_admin_change, marks=pytest.mark.exhaustive),
    ],
)
def test_no_spelling_is_saved(
    save: Callable[[SimpleNamespace, str], bool], recording: Recording, admin: SimpleNamespace, provider: Provider
) -> None:
    taken = [url for url in SPELLINGS if not save(admin, url)]

    assert taken == []
    (row,) = Provider.objects.for_workspace(admin.workspace.pk)
    assert (row.base_url, row.api_key.reveal(), row.version) == ("https://public.test/v1", "sk-of-the-test-0123", 1)
    assert recording.connected == []


# --- called, although it stands in the row: saved before a rule, or a name that leads elsewhere since


@pytest.mark.parametrize("path", ["models/model/test", "providers/bad/available-models"])
def test_no_spelling_in_a_row_is_called(path: str, recording: Recording, admin: SimpleNamespace) -> None:
    told, wrong = set(), []
    for number, url in enumerate([*(one for one in SPELLINGS if len(one) <= 500 and "\0" not in one), *NAMES]):
        row = ProviderFactory(workspace=admin.workspace, slug=f"bad{number}", base_url=url, api_key="sk-test-0123")
        ModelFactory(provider=row, workspace=admin.workspace, slug=f"model{number}")
        there = path.replace("model/", f"model{number}/").replace("bad/", f"bad{number}/")
        answer = admin.api.post(f"/api/v1/{there}")
        if answer.status_code not in (400, 502, 503) or TELLING.search(answer.content.decode()):
            wrong.append((url, answer.status_code, answer.json()))
        if url in NAMES:
            told.add((answer.status_code, answer.json()["title"]))

    assert wrong == []
    assert len(told) == 1
    assert recording.connected == []


def calls_of(row: Provider) -> list[Callable[[Any], Any]]:
    """Each kind of call that a connection of this type makes."""
    chat = ChatRequest(model="m", messages=(ChatMessage(MessageRole.USER, "hi"),))

    async def streamed(connected: Any) -> None:
        async for _ in connected.stream_chat(chat):
            pass

    return [
        streamed,
        lambda connected: connected.embed(EmbeddingRequest("m", ("hi",), EmbeddingPurpose.QUERY)),
        lambda connected: connected.rerank(RerankRequest("m", "hi", ("a", "b"))),
        lambda connected: connected.list_models(),
    ]


async def kinds_of_failure(row: Provider) -> dict[str, str]:
    """How each call failed; a call that did not fail is "answered". Some SDKs refuse an address when they are made."""
    failures = {}
    for number, call in enumerate(calls_of(row)):
        connected = None
        try:
            connected = connect_row(row, 2)
            await call(connected)
            failures[str(number)] = "answered"
        except ProviderFailure as failure:
            told = TELLING.search(failure.message)
            failures[str(number)] = f"told {failure.message}" if told else failure.kind
        finally:
            if connected is not None:
                await connected.close()
    return failures


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", sorted(set(PRESETS) - {LOCAL.name}))
def test_no_type_of_provider_calls_any_spelling(kind: str, recording: Recording) -> None:
    account = {"region": "eu-west-1", "access_key_id": "AKID", "secret": "s3cret"} if kind == "bedrock" else {}
    found = {}
    for url in [*SPELLINGS, *NAMES]:
        row = ProviderFactory.build(type=kind, base_url=url, api_key="sk-test", workspace=None, **account)
        failures = asyncio.run(kinds_of_failure(row))
        if not set(failures.values()) <= {"refused", "unsupported"} or "refused" not in failures.values():
            found[url] = failures

    assert found == {}
    assert recording.connected == []


@pytest.mark.exhaustive
def test_no_key_file_of_google_sends_its_assertion_anywhere(recording: Recording) -> None:
    template = key_file("TOKEN_URI")
    found = {}
    for url in [*SPELLINGS, *NAMES]:
        secret = template.replace('"TOKEN_URI"', json.dumps(url))
        row = ProviderFactory.build(type="google", project="p", secret=secret, workspace=None)
        failures = asyncio.run(kinds_of_failure(row))
        if not set(failures.values()) <= {"refused", "unsupported"}:
            found[url] = failures

    assert found == {}
    assert recording.connected == []


# --- settings


@pytest.mark.parametrize("url", [*SPELLINGS, *NAMES])
def test_collector_of_no_spelling_is_called_unless_the_settings_list_it(
    url: str, recording: Recording, settings: Any
) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = url

    (finding,) = exporter.findings()

    assert "does not take traces" in finding.detail
    assert not TELLING.search(finding.detail.replace(url, ""))
    assert recording.connected == []


@pytest.mark.parametrize("url", SPELLINGS)
def test_setting_allows_the_host_that_it_names_and_no_other(url: str) -> None:
    """OPENAI_BASE_URL and the collector's address are the operator's own, private ones too: but as they are written."""
    try:
        allow = allow_url({}, OutboundUse.PROVIDER, url)
        target = check_url(url, OutboundUse.PROVIDER, allow=allow)
    except (ValueError, OutboundRefused):
        return

    assert allow["provider"] == {target.endpoint}
    assert target.host.strip("[]") in url.lower() or ":" in target.host


# --- pictures


@pytest.fixture
def seeing(admin: SimpleNamespace, provider: Provider) -> str:
    ModelFactory(provider=provider, workspace=admin.workspace, slug="seeing", vision=True)
    return "seeing"


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_no_picture_is_fetched(path: str, recording: Recording, admin: SimpleNamespace, seeing: str) -> None:
    wrong = []
    for url in [*SPELLINGS, *NAMES, "https://public.test/cat.png"]:
        if path == "responses":
            parts = [{"type": "input_image", "image_url": url}]
            body = {"model": seeing, "input": [{"role": "user", "content": parts}]}
        else:
            parts = [{"type": "image_url", "image_url": {"url": url}}]
            body = {"model": seeing, "messages": [{"role": "user", "content": parts}]}
        answer = admin.api.post(f"/v1/{path}", body)
        reason = "NUL" if "\0" in url else "data: URL"
        if answer.status_code != 400 or reason not in answer.json()["error"]["message"]:
            wrong.append((url, answer.status_code, answer.content[:200]))

    assert wrong == []
    assert recording.connected == []


@pytest.mark.parametrize("field", ["base_url", "api_base", "headers", "extra_headers", "api_key", "provider"])
def test_request_names_no_other_address_and_no_other_key(
    field: str, recording: Recording, admin: SimpleNamespace, seeing: str
) -> None:
    odd = {"Authorization": "Bearer theirs"} if "headers" in field else "http://127.0.0.2/v1"
    for path, body in (("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
                       ("responses", {"input": "hi"})):  # fmt: skip
        admin.api.post(f"/v1/{path}", {"model": seeing, **body, field: odd})

    assert {address for address, _ in recording.connected} == set(ANSWERS["public.test"])


# --- nothing is forgotten


def modules() -> Iterator[Path]:
    for path in sorted(BASE_DIR.glob("*/**/*.py")):
        parts = path.relative_to(BASE_DIR).parts
        if parts[0][0] != "." and "tests" not in parts and not path.name.startswith("outbound"):
            yield path


def test_every_use_of_an_outbound_client_is_a_sink_of_this_file() -> None:
    found = set()
    for path in modules():
        text = path.read_text()
        if "OutboundUse" in text:
            found |= {
                (path.relative_to(BASE_DIR).as_posix(), node.attr)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "OutboundUse"
            }

    assert found == set(SINKS)


def test_every_column_that_holds_an_address_is_a_sink_of_this_file() -> None:
    from django.apps import apps

    held = {
        f"{model._meta.app_label}.{model.__name__}.{field.name}"
        for model in apps.get_models()
        if model.__module__.split(".")[0] in {path.parts[-2] for path in BASE_DIR.glob("*/apps.py")}
        for field in model._meta.get_fields()
        if re.search(r"(^|_)(ur[il]|endpoint|webhook|host)s?(_|$)", field.name)
    }

    assert held == set(ADDRESS_COLUMNS)
