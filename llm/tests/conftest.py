import pytest
import pytest_asyncio

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
