"""What the `model` of a request of /v1 stands for: a RAG tool, a prompt template, or a raw model.

All lookups go through the selectors that say what this caller may run, so what is not shared does not exist here.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import Q, QuerySet

from core.access import Permission, Principal
from core.compiled import Compiled, Statement, execute
from core.ids import as_stored, is_uuid
from core.sharing import SharedModel, visible, visible_to
from doors.errors import UnknownModel
from llm.choices import ModelKind
from llm.models import Model
from llm.selectors import default_models, models_of
from prompts.models import PromptTemplate
from rag.models import RagTool

PINNED = re.compile(r"(.+)@([0-9]{1,9})")
ALIASES = {f"default-{kind.value}": kind for kind in (ModelKind.CHAT, ModelKind.EMBEDDING)}


class Kind(StrEnum):
    """The prefixes that always work, in the order in which a bare slug is looked up."""

    RAG = "rag"
    PROMPT = "prompt"
    MODEL = "model"


TOOLS: dict[Kind, type[SharedModel]] = {Kind.RAG: RagTool, Kind.PROMPT: PromptTemplate}


@dataclass(frozen=True)
class Target:
    """A row that a request names. variant: the number that it pins, None for the active one."""

    kind: Kind
    row: Any
    variant: int | None = None


@dataclass(frozen=True)
class Listed:
    """A line of `GET /v1/models`. created: Unix seconds."""

    id: str
    kind: Kind
    name: str
    description: str
    created: int
    owned_by: str


def find_target(principal: Principal, reference: str) -> Target:
    """Raises UnknownModel for what does not exist for this caller."""
    kinds, name = _split(reference)
    pinned = PINNED.fullmatch(name)
    slug, number = (pinned[1], int(pinned[2])) if pinned else (name, None)
    sought: list[tuple[Kind, int | None, Statement[Any]]] = []
    if principal.allows(Permission.RUN):
        sought += [(kind, number, visible(TOOLS[kind], principal, slug)) for kind in kinds if kind in TOOLS]
    if Kind.MODEL in kinds and _may_use_models(principal):
        sought += [(Kind.MODEL, None, one) for one in _models_called(principal.workspace_id, name)]
    found = execute(*(statement for _, _, statement in sought)) if sought else ()
    for (kind, variant, _), rows in zip(sought, found, strict=True):
        if rows:
            return Target(kind, rows[0], variant)
    raise UnknownModel(reference)


def _may_use_models(principal: Principal) -> bool:
    """A key that names its tools has no others, and so no raw models."""
    return principal.allows(Permission.MODELS) and not principal.tools


def _split(reference: str) -> tuple[tuple[Kind, ...], str]:
    prefix, colon, rest = reference.partition(":")
    return ((Kind(prefix),), rest) if colon and prefix in set(Kind) else (tuple(Kind), reference)


def _models_called(workspace_id: uuid.UUID, name: str) -> list[Statement[list[Model]]]:
    """Models by alias, or by id or slug, else by the vendor's identifier; of several with one identifier the default,
    else the oldest."""
    if name in ALIASES:
        return [default_models.filled(workspace_id=workspace_id, kind=ALIASES[name].value)]
    return [
        _models_named.filled(is_uuid(name), workspace_id=workspace_id, name=as_stored(name)),
        _models_identified.filled(workspace_id=workspace_id, name=name),
    ]


@Compiled
def _models_named(by_id: bool, workspace_id: Any, name: Any) -> QuerySet[Model]:
    return models_of(workspace_id).filter(**{"pk" if by_id else "slug": name})


@Compiled
def _models_identified(workspace_id: Any, name: Any) -> QuerySet[Model]:
    return models_of(workspace_id).filter(identifier=name, is_active=True).order_by("-is_default", "created_at", "id")


def listed(principal: Principal) -> Iterator[Listed]:
    """What this caller may name: tools with a published variant, and raw models that are switched on."""
    taken: set[str] = set()
    if principal.allows(Permission.RUN):
        for kind, model in TOOLS.items():
            rows = visible_to(model.objects.for_workspace(principal.workspace_id), principal)
            for row in rows.filter(variants__is_active=True).order_by("slug"):
                yield _line(row, kind, row.slug, principal.workspace_slug, taken)
    if _may_use_models(principal):
        yield from _models(principal, taken)


def _models(principal: Principal, taken: set[str]) -> Iterator[Listed]:
    rows = models_of(principal.workspace_id)
    usable = rows.filter(Q(is_active=True, provider__is_active=True), kind__in=list(ALIASES.values()))
    models = [row for row in usable.order_by("slug") if not row.is_extractive]
    for row in models:
        yield _line(row, Kind.MODEL, row.slug, row.provider.slug, taken)
    for alias, kind in ALIASES.items():
        for row in (one for one in models if one.is_default and one.kind == kind):
            yield _line(row, Kind.MODEL, alias, row.provider.slug, taken)


def one_line(reference: str, target: Target, principal: Principal) -> Listed:
    """A target as the list shows it, by the name that the caller gave it."""
    owner = target.row.provider.slug if target.kind is Kind.MODEL else principal.workspace_slug
    row = target.row
    return Listed(reference, target.kind, row.name, row.description, int(row.created_at.timestamp()), owner)


def _line(row: Any, kind: Kind, slug: str, owner: str, taken: set[str]) -> Listed:
    """A slug that stands for another object already is shown with its prefix."""
    name = f"{kind}:{slug}" if slug in taken else slug
    taken.add(slug)
    return Listed(name, kind, row.name, row.description, int(row.created_at.timestamp()), owner)
