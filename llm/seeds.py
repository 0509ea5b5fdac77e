"""The providers and models that a workspace begins with."""

import uuid
from typing import Any

from django.conf import settings
from django.utils.text import slugify

from accounts.models import Workspace
from accounts.services import seed_once
from core.audit import save_new
from llm.catalogue import DEFAULT_CHAT, DEFAULT_EMBEDDING, known_facts, type_facts
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider
from llm.price_services import price_from_catalogue

DEFAULT_WORKSPACE = "default"


def seed_all() -> None:
    """Every workspace gets what it has not got before."""
    for workspace in Workspace.objects.order_by("created_at"):
        seed_workspace(workspace.pk)


def seed_workspace(workspace_id: uuid.UUID) -> None:
    """The vendor's models of OPENAI_API_KEY in the first workspace, the local ones in every workspace.

    Whichever comes first becomes the default of its kind: at the first start with a key those are the vendor's.
    """
    own_key = settings.OPENAI_API_KEY and Workspace.objects.filter(pk=workspace_id, slug=DEFAULT_WORKSPACE).exists()
    if own_key:
        seed_once(workspace_id, "llm.openai", lambda: _openai(workspace_id))
    seed_once(workspace_id, "llm.local", lambda: _local(workspace_id))


def _openai(workspace_id: uuid.UUID) -> None:
    provider = _provider(
        workspace_id,
        slug="openai",
        name="OpenAI",
        type=ProviderType.OPENAI,
        base_url=settings.OPENAI_BASE_URL,
        api_key=settings.OPENAI_API_KEY,
        description="From OPENAI_API_KEY at the first start.",
    )
    chat = settings.OPENAI_CHAT_MODEL or DEFAULT_CHAT
    embedding = settings.OPENAI_EMBEDDING_MODEL or DEFAULT_EMBEDDING
    _model(provider, ModelKind.CHAT, chat)
    _model(provider, ModelKind.EMBEDDING, embedding)


def _local(workspace_id: uuid.UUID) -> None:
    from llm.providers.local.embedding import DIMENSIONS, IDENTIFIER, MAX_TOKENS
    from llm.providers.local.provider import EXTRACTIVE, LIMITS

    provider = _provider(
        workspace_id,
        slug="local",
        name="Local",
        type=ProviderType.LOCAL,
        description="Models that run on this machine: no key, no network.",
    )
    _model(
        provider,
        ModelKind.EMBEDDING,
        IDENTIFIER,
        name="all-MiniLM-L6-v2",
        dimensions=DIMENSIONS,
        max_input_tokens=MAX_TOKENS,
        description="English; reads up to 256 word pieces of a passage.",
    )
    _model(provider, ModelKind.CHAT, EXTRACTIVE, name="Extractive", description=LIMITS)


def _provider(workspace_id: uuid.UUID, *, slug: str, **values: Any) -> Provider:
    """The row of this slug; one that a person made is left as it is."""
    found: Provider | None = Provider.objects.for_workspace(workspace_id).filter(slug=slug).first()
    if found is not None:
        return found
    provider = Provider(workspace_id=workspace_id, slug=slug, **values)
    return save_new(provider)


def _model(provider: Provider, kind: ModelKind, identifier: str, **values: Any) -> None:
    """A model of this identifier, the default of its kind where there is none yet."""
    rows = Model.objects.for_workspace(provider.workspace_id)
    slug = slugify(identifier.replace(".", "-").replace("/", "-").replace(":", "-"))[:100] or kind.value
    if rows.filter(slug=slug).exists():
        return
    model = Model(
        workspace_id=provider.workspace_id,
        provider=provider,
        kind=kind,
        identifier=identifier,
        slug=slug,
        is_default=not rows.filter(kind=kind, is_default=True).exists(),
        **{"name": identifier, **type_facts(provider.type, kind), **known_facts(identifier, kind), **values},
    )
    save_new(model)
    price_from_catalogue(model)
