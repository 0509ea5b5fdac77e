"""Drafts that answer with a newly connected chat model, of the tools that have the local one or none: one click makes
them. What is served stays as it is until somebody publishes them."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from core.access import Permission, Principal
from core.exceptions import Conflict
from core.models import ConfigurationModel
from core.registry import Registry
from core.variant_services import variant_create_draft
from core.variants import Variant, VariantStatus
from llm import breaker
from llm.breaker import BreakerState
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider
from llm.selectors import connected_chat_models

CONSIDERED = 20
"""Models that an offer is chosen from."""


class DraftState(StrEnum):
    """none: a draft can be made. exists: one with this model is there. other: another draft is, and stays as it is."""

    NONE = "none"
    CREATED = "created"
    EXISTS = "exists"
    OTHER = "other"


@dataclass(frozen=True)
class Waiting:
    """A kind of tools. served: their active variants that have the local chat model, or none."""

    kind: str
    served: Callable[[uuid.UUID], QuerySet[Any]]


WAITING: Registry[Waiting] = Registry("kind of tools that wait for a chat model")
"""Apps above register theirs; the names say the order."""


@dataclass(frozen=True)
class ToolDraft:
    """A tool that could answer with the model. number: of the draft that is there."""

    kind: str
    tool: ConfigurationModel
    served: Variant
    state: DraftState
    number: int | None = None


@dataclass(frozen=True)
class Offer:
    """What one click would make: drafts with this model."""

    model: Model
    drafts: tuple[ToolDraft, ...]

    @property
    def open(self) -> tuple[ToolDraft, ...]:
        return tuple(one for one in self.drafts if one.state is DraftState.NONE)

    @property
    def made(self) -> tuple[ToolDraft, ...]:
        return tuple(one for one in self.drafts if one.state is DraftState.EXISTS)


def tool_drafts(model: Model) -> tuple[ToolDraft, ...]:
    """The tools of the model's workspace that wait for a chat model, and their drafts. Two questions a kind."""
    return tuple(_told(model, one) for one in _waiting(model.workspace_id))


@dataclass(frozen=True)
class _Tool:
    """A tool that waits. draft: the one that it has, or None."""

    kind: str
    served: Any
    draft: Any


def _waiting(workspace_id: uuid.UUID) -> list[_Tool]:
    return [one for _name, waiting in WAITING.items() for one in _of_kind(workspace_id, waiting)]


def _of_kind(workspace_id: uuid.UUID, waiting: Waiting) -> list[_Tool]:
    served: Sequence[Any] = list(waiting.served(workspace_id).select_related("parent").order_by("parent__name"))
    if not served:
        return []
    rows = type(served[0]).objects.for_workspace(workspace_id)
    found = rows.filter(parent__in=[one.parent_id for one in served], status=VariantStatus.DRAFT)
    drafts = {draft.parent_id: draft for draft in found}
    return [_Tool(waiting.kind, one, drafts.get(one.parent_id)) for one in served]


def _told(model: Model, one: _Tool) -> ToolDraft:
    if one.draft is None:
        return ToolDraft(one.kind, one.served.parent, one.served, DraftState.NONE)
    state = DraftState.EXISTS if one.draft.model_id == model.pk else DraftState.OTHER
    return ToolDraft(one.kind, one.served.parent, one.served, state, one.draft.number)


def offer_of(workspace_id: uuid.UUID, *, provider: Provider | None = None) -> Offer | None:
    """What to do with a connected chat model, of this provider where one is given; None where there is nothing.

    Of several it is the one whose drafts wait already, else one that answers, else the default, else the newest.
    """
    rows = connected_chat_models(workspace_id)
    models = list((rows.filter(provider=provider) if provider is not None else rows)[:CONSIDERED])
    tools = _waiting(workspace_id) if models else []
    if not tools:
        return None
    drafted = {one.draft.model_id for one in tools if one.draft is not None}
    known = breaker.standings(models)
    model = min(models, key=lambda one: (one.pk not in drafted, known[one.pk].state is not BreakerState.CLOSED))
    return Offer(model, tuple(_told(model, one) for one in tools))


def offer_with(model: Model) -> Offer | None:
    """What to do with this model; None for one that cannot chat, and where no tool waits."""
    if not connected_chat_models(model.workspace_id).filter(pk=model.pk).exists():
        return None
    drafts = tool_drafts(model)
    return Offer(model, drafts) if drafts else None


@transaction.atomic
def drafts_create(model: Model, *, principal: Principal) -> tuple[ToolDraft, ...]:
    """A draft with this model for each tool that waits and has none. Doing it twice changes nothing.

    Raises Conflict for a model that could not answer.
    """
    principal.require(Permission.MANAGE)
    if model.kind != ModelKind.CHAT or model.provider.type == ProviderType.LOCAL:
        raise Conflict("Drafts are made with a chat model of a connected provider.", hint="Choose another model.")
    if not (model.is_active and model.provider.is_active):
        raise Conflict(f"'{model.slug}' or its provider is not active.", hint="Activate them first.")
    return tuple(_ensured(one, model, principal) for one in tool_drafts(model))


def _ensured(wanted: ToolDraft, model: Model, principal: Principal) -> ToolDraft:
    if wanted.state is not DraftState.NONE:
        return wanted
    note = (_("Answers with %(model)s") % {"model": model.name})[:300]
    try:
        draft = variant_create_draft(
            wanted.tool, actor=principal.user, copy_of=wanted.served, values={"model": model, "note": note}
        )
    except Conflict:  # somebody else made one meanwhile
        rows = type(wanted.served).objects.for_workspace(model.workspace_id)
        draft = rows.get(parent=wanted.tool, status=VariantStatus.DRAFT)
        return _told(model, _Tool(wanted.kind, wanted.served, draft))
    return replace(wanted, state=DraftState.CREATED, number=draft.number)
