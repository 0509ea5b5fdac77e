"""Reads of models."""

import uuid
from typing import Any

from django.db.models import QuerySet

from core.compiled import Compiled
from core.crypto import DecryptionFailed
from core.exceptions import Conflict, NotFound
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider


@Compiled
def default_models(workspace_id: Any, kind: Any) -> QuerySet[Model]:
    """The default of this kind, or nothing."""
    return models_of(workspace_id).filter(kind=kind, is_default=True)


@Compiled
def _by_id(pk: Any) -> QuerySet[Model]:
    return Model._unscoped.select_related("provider").filter(pk=pk)


def default_model(workspace_id: uuid.UUID, kind: ModelKind) -> Model:
    """The workspace's default of this kind. Raises Conflict when there is none."""
    model = default_models.first(workspace_id=workspace_id, kind=kind.value)
    if model is None:
        raise Conflict(f"This workspace has no default {kind.value} model.", hint="Mark one as default.")
    return model


def model_by_slug(workspace_id: uuid.UUID, slug: str) -> Model:
    """A model by its slug; `default-chat` and `default-embedding` are the defaults."""
    if slug in {f"default-{kind.value}" for kind in ModelKind}:
        return default_model(workspace_id, ModelKind(slug.removeprefix("default-")))
    model: Model | None = models_of(workspace_id).filter(slug=slug).first()
    if model is None:
        raise NotFound(f"There is no model '{slug}'.")
    return model


def models_of(workspace_id: uuid.UUID) -> QuerySet[Model]:
    """All models of a workspace, with their providers, as `llm.client` takes them."""
    return Model.objects.for_workspace(workspace_id).select_related("provider")


def connected_chat_models(workspace_id: uuid.UUID) -> QuerySet[Model]:
    """Chat models of vendors that may be asked: the default first, then the newest."""
    rows = models_of(workspace_id).filter(kind=ModelKind.CHAT, is_active=True)
    asked = rows.filter(provider__is_active=True, provider__key_refused_at=None)
    return asked.exclude(provider__type=ProviderType.LOCAL).order_by("-is_default", "-created_at", "-pk")


def model_by_id(model_id: uuid.UUID) -> Model:
    """A model that a row refers to, with its provider, as `llm.client` takes it."""
    model = _by_id.first(pk=model_id)
    if model is None:
        raise Model.DoesNotExist(f"There is no model {model_id}.")
    return model


def header_names(provider: Provider) -> list[str]:
    """The names of the stored extra headers, never their values."""
    try:
        return sorted(provider.headers.reveal())
    except DecryptionFailed:
        return []
