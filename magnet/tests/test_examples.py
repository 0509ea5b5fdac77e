"""Every operation has an example, and the examples are true: they are played against a running web process.

`make examples` (MAGNET_RECORD_EXAMPLES=1) plays them and writes the answers down, in `<app>/api/answers.json`.
"""

import io
import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.core.management import call_command

from accounts.models import User, Workspace
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, UserFactory
from core.access import Role
from core.api.examples import Examples, is_reference, place_in, recorded
from knowledge.ingesting import document_ingest
from knowledge.models import Document
from llm.choices import ModelKind
from llm.tests.factories import ModelFactory, ProviderFactory
from magnet.tests.api_walk import Operation, operations
from magnet.tests.committed import remove_rows
from magnet.tests.contract import Described, assert_as_described, validator
from magnet.tests.scripted_provider import ScriptedProvider
from magnet.tests.scripted_vendors import VendorServer, ollama
from magnet.tests.web import web_process
from observability.api.runs import RunView

RECORDS = bool(os.environ.get("MAGNET_RECORD_EXAMPLES"))
HOW = "Add it in <app>/api/examples.py, name it in the view as `examples`, and run `make examples` (CONTRIBUTING.md)."
EVENT_STREAM = "text/event-stream"
DOOR = "/v1/"
# What the examples show is short: of lists one row, of texts the beginning.
LONGEST_TEXT, LONGEST_LIST = 200, 1
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
MOMENT = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
HEX = re.compile(r"(?<![0-9a-z])[0-9a-f]{32}\b|\bmk_[\w-]+")
SECONDS = 1793608200  # of the same moment, for OpenAI's `created`

BY_NAME = {str(one.described): one for one in [*operations(), *operations(DOOR)]}


def examples_of(operation: Operation) -> Examples:
    found: Examples = operation.view.examples
    return found


def example(content: dict[str, Any]) -> Any:
    """The body that the description shows, in the form that it shows one for."""
    return next((one["example"] for one in content.values() if "example" in one), None)


# --- the description alone


@pytest.mark.parametrize("name", BY_NAME)
def test_it_shows_a_request_and_an_answer(name):
    operation = BY_NAME[name]
    described, values = (
        operation.described,
        examples_of(operation).path_of(operation.action),
    )
    needed = re.findall(r"{(\w+)}", described.path)

    assert [one for one in needed if one not in values] == [], f"{name} has no example of its path. {HOW}"
    if described.request_content:
        assert example(described.request_content) is not None, f"{name} has no example of its request. {HOW}"
    assert name in recorded(), f"{name} has no recorded answer. {HOW}"
    shown = described.answers[str(recorded()[name].status)].get("content", {})
    assert not shown or example(shown) is not None, f"{name} shows no answer. {HOW}"


@pytest.mark.parametrize("name", BY_NAME)
def test_what_it_shows_is_what_its_schema_says(name):
    described = BY_NAME[name].described
    shown = [described.request_content, *(one.get("content", {}) for one in described.answers.values())]

    for content in shown:
        for form, one in content.items():
            if form.endswith("json") and "example" in one:
                errors = list(validator(one["schema"], strict=True).iter_errors(one["example"]))
                assert not errors, f"{errors[0].json_path}: {errors[0].message}"


def test_no_example_is_left_over():
    assert set(recorded()) <= set(BY_NAME), "make examples"


# --- the story


@dataclass
class Story:
    """The examples on their way through a web process; `answers` are those of operations that were played.

    again: what each POST that takes an Idempotency-Key answered to the same request, and to another with its key.
    """

    address: str
    headers: dict[str, str]
    answers: dict[str, httpx2.Response] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    again: dict[str, tuple[httpx2.Response, httpx2.Response]] = field(default_factory=dict)

    def play_all(self) -> None:
        """What creates comes first, what deletes comes last and in reverse; before each, what it refers to."""
        names = list(BY_NAME)
        creating = [name for name in names if BY_NAME[name].action == "create"]
        deleting = [name for name in reversed(names) if BY_NAME[name].method == "DELETE"]
        for name in [*creating, *(one for one in names if one not in {*creating, *deleting}), *deleting]:
            self.play(name)

    def play(self, name: str) -> None:
        if name in self.answers:
            return
        operation = BY_NAME[name]
        described = operation.described
        told = examples_of(operation).path_of(operation.action)
        values = {one: told[one] for one in re.findall(r"{(\w+)}", described.path)}
        for value in values.values():
            if is_reference(value):
                self.play(value.partition("#/")[0])
        path = described.path.format(**{one: self.value(value) for one, value in values.items()})
        BEFORE.get(name, lambda: None)()
        self.answers[name] = self.send(described, path)
        if takes_key(described):
            self.again[name] = self.send(described, path), self.send(described, path, other="than before")
        if issubclass(operation.view, RunView):
            self.events[name] = self.first_event(described, path)
        if name == "knowledge_sources_documents_create":
            document_ingest(self.answers[name].json()["job_id"])

    def value(self, value: Any) -> Any:
        if not is_reference(value):
            return value
        return place_in(self.answers[value.partition("#/")[0]].json(), value)

    def send(self, described: Described, path: str, **more: str) -> httpx2.Response:
        """The example as the description shows it, and more in its body."""
        body = example(described.request_content)
        body = {**(body or {}), **more} if more else body
        stream = any(EVENT_STREAM in one.get("content", {}) for one in described.answers.values())
        if stream and described.method == "GET":
            self.events[str(described)] = self.first_event(described, path)
            return httpx2.Response(200, headers={"Content-Type": EVENT_STREAM})
        headers = {} if described.operation["x-magnet-access"]["role"] == "nobody" else self.headers
        if any(one["name"] == "If-Match" and one.get("required") for one in described.parameters):
            headers = {**headers, "If-Match": "*"}
        if takes_key(described):
            headers = {**headers, "Idempotency-Key": str(described)}
        with httpx2.Client(trust_env=False, timeout=60) as client:
            return client.request(described.method, self.address + path, json=body, headers=headers)

    def first_event(self, described: Described, path: str) -> str:
        headers = {**self.headers, "Accept": EVENT_STREAM}
        body = example(described.request_content)
        if path.startswith(DOOR):  # where only the body asks for a stream
            body = {**body, "stream": True}
        with (
            httpx2.Client(trust_env=False, timeout=60) as client,
            client.stream(described.method, self.address + path, json=body, headers=headers) as answer,
        ):
            if (answer.status_code, answer.headers["Content-Type"]) != (200, EVENT_STREAM):
                return answer.read().decode()
            text = ""
            for part in answer.iter_text():
                text += part
                if "\n\n" in text:
                    return text.partition("\n\n")[0] + "\n\n"
        raise AssertionError(f"{described} told no event")


def takes_key(described: Described) -> bool:
    return any(one["name"] == "Idempotency-Key" for one in described.parameters)


def fail_document() -> None:
    """A document that failed, as one is whose file is damaged."""
    Document._unscoped.filter(external_id="parking").update(status="failed", reason_code="damaged", reason="Damaged.")


# OpenAI's frames have no number, and those of chats no name.
LINES = {"openai_chat_completions": ["data"], "openai_responses": ["event", "data"]}
BEFORE = {"documents_retry": fail_document}


@pytest.fixture(scope="module")
def story(
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
    scripted_server: ScriptedProvider,
) -> Any:
    """A platform as it comes, with a superuser and a vendor's model; all examples are played once."""

    folder = tmp_path_factory.mktemp("examples")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "STORAGE_DIR", folder / "files")
        patch.setattr(settings, "OUTBOUND_ALLOW", scripted_server.allow)
        password = make_password("correct horse battery staple", hasher=Argon2PasswordHasher())
        person = UserFactory(email="you@example.org", name="You", is_superuser=True)
        User.objects.filter(pk=person.pk).update(password=password)
        UserFactory(email="colleague@example.org", name="A colleague")
        workspace = Workspace.objects.create(name="Default", slug="default")
        MembershipFactory(user=person, workspace=workspace, role=Role.ADMIN)
        call_command("seed", verbosity=0, stdout=io.StringIO())
        provider = ProviderFactory(workspace=workspace, slug="openai", base_url=scripted_server.url, api_key="sk-x")
        ModelFactory(workspace=workspace, provider=provider, slug="gpt-5-mini", identifier="ok", kind=ModelKind.CHAT)
        key = api_key_issue(user=person, workspace=workspace, name="Examples").text
        keys = ",".join(settings.ENCRYPTION_KEYS)
        allowed = f"provider={scripted_server.endpoint}"
        with (
            VendorServer(ollama) as found,
            web_process(folder, ENCRYPTION_KEYS=keys, OUTBOUND_ALLOW=allowed, OLLAMA_HOST=found.endpoint) as address,
        ):
            played = Story(address, {"Authorization": f"Bearer {key}"})
            played.play_all()
        yield played
        remove_rows()


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_every_example_is_answered_as_it_is_shown(story):
    refused = {name: one.text[:600] for name, one in story.answers.items() if one.status_code >= 300}
    assert not refused, json.dumps(refused, indent=1)
    if RECORDS:
        record(story)
    for name, response in story.answers.items():
        described = BY_NAME[name].described
        assert response.status_code == recorded()[name].status, name
        if response.headers.get("Content-Type") == EVENT_STREAM:
            continue
        assert_as_described(described, response)
        if response.headers.get("Content-Type", "").endswith("json"):
            assert shape(response.json()) == shape(recorded()[name].body), name


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_every_stream_begins_as_it_is_shown(story):
    for name, text in story.events.items():
        told, shown = fields(text), fields(recorded()[name].events or "")
        assert list(told) == LINES.get(name, ["id", "event", "data"])
        assert told.get("event") == shown.get("event")
        assert shape(json.loads(told["data"])) == shape(json.loads(shown["data"]))


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_the_same_post_is_answered_the_same_and_another_under_its_key_is_refused(story):
    assert set(story.again) == {name for name, one in BY_NAME.items() if takes_key(one.described)}
    for name, (again, other) in story.again.items():
        first = story.answers[name]
        assert (again.status_code, again.json()) == (first.status_code, first.json()), name
        assert [one.headers.get("Idempotency-Replayed") for one in (first, again)] == [None, "true"], name
        for header in ("ETag", "Location"):
            assert again.headers.get(header) == first.headers.get(header), (name, header)
        assert_as_described(BY_NAME[name].described, other)
        assert other.status_code == 422, name
        assert "idempotency_key_reused" in other.text, name


def fields(event: str) -> dict[str, str]:
    """The lines of an event by their names."""
    return {name: value for name, _, value in (line.partition(": ") for line in event.strip().split("\n"))}


def shape(value: Any) -> Any:
    """The names in an answer and the kinds of its values; null may stand for anything, a list for any of its length."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items() if one is not None and not isinstance(one, list)}
    return type(value).__name__ if not isinstance(value, int | float) else "number"


# --- recording


def record(story: Story) -> None:
    by_app: dict[str, dict[str, Any]] = defaultdict(dict)
    clean = Cleaner()
    for name, response in story.answers.items():
        told: dict[str, Any] = {"status": response.status_code}
        if response.headers.get("Content-Type", "").endswith("json"):
            told["body"] = clean(response.json())
        elif response.content:
            told["body"] = clean(response.text)
        if name in story.events:
            told["events"] = clean.text(story.events[name])
        by_app[BY_NAME[name].view.__module__.partition(".")[0]][name] = told
    for app, answers in by_app.items():
        path = Path(settings.BASE_DIR) / app / "api" / "answers.json"
        path.write_text(json.dumps(dict(sorted(answers.items())), indent=1, ensure_ascii=False) + "\n")
    recorded.cache_clear()


class Cleaner:
    """Ids, moments and keys of one recording made the same in each, and long answers short."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    def __call__(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self(one, "_ms" if name == "timings" else key) for key, one in value.items()}
        if isinstance(value, list):
            return [self(one) for one in value[:LONGEST_LIST]]
        if name == "csrf_token":
            return "…"
        if name.endswith("_ms") and value is not None:
            return 12
        if name in {"created", "created_at"} and isinstance(value, int):
            return SECONDS
        if isinstance(value, float):
            return round(value, 3)
        if isinstance(value, str):
            text = self.text(value)
            return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()}…"
        return value

    def text(self, text: str) -> str:
        text = UUID.sub(lambda found: self.id_of(found[0]), text)
        text = MOMENT.sub("2026-11-02T08:30:00Z", text)
        text = re.sub(r'("created(?:_at)?":)\d+', rf"\g<1>{SECONDS}", text)
        return HEX.sub(lambda found: "mk_…" if found[0].startswith("mk_") else "7f0c1d6e5b3a4c9d8e2f1a0b9c8d7e6f", text)

    def id_of(self, real: str) -> str:
        return self.ids.setdefault(real, f"0193a5c0-7d20-7000-8000-{len(self.ids) + 1:012d}")
