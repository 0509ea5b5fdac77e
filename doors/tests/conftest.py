"""A workspace with a RAG tool, prompt templates and raw models, and a real web process that offers them in /v1."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import openai
import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from accounts.tests.factories import principal_of
from core.access import Role, Scope
from core.variant_services import variant_publish
from llm.choices import ModelKind
from llm.models import Model
from llm.services import model_create
from magnet.tests.committed import remove_rows
from magnet.tests.conftest import north, south, worlds  # noqa: F401
from magnet.tests.web import web_process
from prompts.models import PromptTemplate
from prompts.services import prompt_create
from rag.tests.conftest import World
from rag.tests.test_journey_vendor import configure

T = TypeVar("T")

TRANSLATE = {
    "messages": [
        {"role": "system", "content": "Translate into {{ language }}, {{ times }} times, politely: {{ polite }}."}
    ],
    "variables": [
        {"name": "language"},
        {"name": "times", "type": "number", "default": 1},
        {"name": "polite", "type": "boolean", "default": False},
    ],
}
RAW = ("ok", "echo", "slow", "stall", "cut", "length", "hang", "unauthorized", "no-usage", "calls-tool", "error-frame")


@dataclass
class Door:
    """A running /v1. url: what clients take as base URL."""

    world: World
    url: str
    provider: object

    def key(self, role: Role | None = None, scopes=tuple(Scope)) -> str:
        """A new key, committed at once: the process sees nothing of a test's own transaction."""

        def issue() -> str:
            member = self.world.colleague(role) if role else self.world.member
            return self.world.headers(member, scopes)["Authorization"].removeprefix("Bearer ")

        return self.commit(issue)

    def commit(self, write: Callable[[], T]) -> T:
        """Write outside of the test's transaction."""

        def call() -> T:
            try:
                return write()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(call).result()

    def add_model(self, name: str, kind: ModelKind = ModelKind.CHAT, **values) -> Model:
        """Another raw model of the scripted vendor, which knows it by its name unless an identifier is given."""
        vendor = Model._unscoped.get(slug="ok").provider
        given = {"name": name, "slug": name, "kind": kind, "identifier": name, "provider": vendor, **values}
        return self.commit(lambda: model_create(principal=principal_of(self.world.member), values=given))

    def client(self, **options) -> openai.OpenAI:
        return openai.OpenAI(**self._options(options))

    def async_client(self, **options) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._options(options))

    def _options(self, options):
        return {
            "base_url": self.url,
            "api_key": options.pop("api_key", None) or self.key(),
            "max_retries": 0,
            **options,
        }


def publish(principal, slug: str, model: Model | None = None, **variant) -> PromptTemplate:
    prompt = prompt_create(
        principal=principal,
        values={"name": slug, "slug": slug},
        variant={**variant, **({"model": model} if model else {})},
    )
    variant_publish(prompt.variants.get(), actor=principal.user)
    return prompt


@pytest.fixture(scope="module")
def door(request, django_db_setup, django_db_blocker, scripted_server, tmp_path_factory) -> Iterator[Door]:
    """Built once a module, as it takes a process; what its tests store is committed, for the process sees no other.

    A module names settings of its process in VARIABLES.
    """
    folder = tmp_path_factory.mktemp("door")
    scripted_server.reset()
    with django_db_blocker.unblock(), override_settings(OUTBOUND_ALLOW=scripted_server.allow):
        try:
            world = configure(settings, scripted_server, folder / "files")
            _rows(world)
            with web_process(
                folder,
                SECRET_KEY=settings.SECRET_KEY,
                ENCRYPTION_KEYS=",".join(settings.ENCRYPTION_KEYS),
                OUTBOUND_ALLOW=f"provider={scripted_server.endpoint}",
                **getattr(request.module, "VARIABLES", {}),
            ) as address:
                yield Door(world, f"{address}/v1", scripted_server)
        finally:
            remove_rows()


def _rows(world: World) -> None:
    principal = principal_of(world.member)
    vendor = Model.objects.for_workspace(world.member.workspace_id).get(kind=ModelKind.CHAT, is_default=True).provider
    models = {
        name: model_create(
            principal=principal,
            values={"name": name, "slug": name, "kind": ModelKind.CHAT, "identifier": name, "provider": vendor},
        )
        for name in RAW
    }
    publish(principal, "translate", models["ok"], **TRANSLATE)
    publish(principal, "parrot", models["echo"], messages=[{"role": "system", "content": "Repeat what you hear."}])
    publish(principal, "slow-prompt", models["slow"], messages=[{"role": "system", "content": "Be slow."}])
