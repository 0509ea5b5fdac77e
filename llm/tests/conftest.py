from copy import copy

import pytest
import pytest_asyncio

from core import valkey
from core.ids import uuid7
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider
from llm.providers.connections import close_connections
from llm.tests.factories import ModelFactory, ProviderFactory

KEY = "sk-the-tests-own-key-0123456789"


@pytest.fixture
def model_of(scripted):
    """An unsaved model of the scripted provider: `model_of("ok")`, `model_of("embed", dimensions=32)`."""
    provider = ProviderFactory.build(
        pk=uuid7(), type=ProviderType.OPENAI, base_url=scripted.url, api_key=KEY, slug="scripted", workspace=None
    )

    def make(identifier: str, **fields) -> Model:
        kind = ModelKind.EMBEDDING if identifier.startswith("embed") or "dimensions" in fields else ModelKind.CHAT
        return ModelFactory.build(
            **{
                "provider": provider,
                "kind": kind,
                "identifier": identifier,
                "slug": identifier,
                "timeout_seconds": 2,
                "workspace": None,
                **fields,
            }
        )

    return make


@pytest.fixture
def scripted_provider_row(scripted, db):
    """Save the scripted provider for a workspace: `scripted_provider_row(workspace)`."""

    def make(workspace, **fields) -> Provider:
        return ProviderFactory(**{"workspace": workspace, "base_url": scripted.url, "api_key": KEY, **fields})

    return make


@pytest_asyncio.fixture(autouse=True)
async def _closed():
    """No test leaves connections of its loop open."""
    yield
    await close_connections()


@pytest.fixture
def valkey_away(settings, monkeypatch):
    """A Valkey that nobody listens for."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    valkey.sync_client.cache_clear()
    monkeypatch.setattr(valkey._Away, "until", 0.0)
    yield
    valkey.sync_client.cache_clear()


@pytest.fixture
def chained(model_of):
    """A model that falls back on others: `chained("hang", "ok")`, each at a provider of its own."""

    def make(*identifiers: str, **fields) -> Model:
        last: Model | None = None
        for identifier in reversed(identifiers):
            model = model_of(identifier, fallback=last, **fields)
            model.provider = copy(model.provider)
            model.provider.pk = uuid7()
            last = model
        assert last is not None
        return last

    return make
