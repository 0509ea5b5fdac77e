"""Writes of retrieval and RAG tools, and the closing of their runs."""

import uuid
from collections.abc import Mapping, Set
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.sharing import columns_of, shared_create, shared_update
from core.access import Permission, Principal
from core.audit import delete_row
from core.compiled import AnyOf, Compiled
from core.compiled_rows import Insert
from core.exceptions import InvalidInput
from core.sharing import SharedModel
from core.variant_services import variant_create_draft
from knowledge.models import Document
from llm.choices import ModelKind
from llm.selectors import default_model
from observability.models import Run
from rag.answering.citations import ResolvedCitation
from rag.answering.engine import AnswerState
from rag.models import Citation, RagTool, RetrievalTool

INSERT_CITATIONS = Insert(Citation)


@transaction.atomic
def retrieval_tool_create(
    *, principal: Principal, values: Mapping[str, Any], variant: Mapping[str, Any] | None = None
) -> RetrievalTool:
    """A new retrieval tool with its first draft."""
    principal.require(Permission.MANAGE)
    tool = shared_create(RetrievalTool(workspace_id=principal.workspace_id, **columns_of(values)), values)
    variant_create_draft(tool, actor=principal.user, values=variant or {})
    return tool


@transaction.atomic
def rag_tool_create(*, principal: Principal, values: Mapping[str, Any], variant: Mapping[str, Any]) -> RagTool:
    """A new RAG tool with its first draft. The default chat model fills the draft that names none."""
    principal.require(Permission.MANAGE)
    tool = shared_create(RagTool(workspace_id=principal.workspace_id, **columns_of(values)), values)
    filled = dict(variant)
    if filled.get("model") is None:
        filled["model"] = default_model(principal.workspace_id, ModelKind.CHAT)
    for name in ("retrieval_tool", "prompt"):
        if filled.get(name) is None:
            raise InvalidInput(f"A RAG tool needs a {name.replace('_', ' ')}.", hint=f"Send `variant.{name}`.")
    variant_create_draft(tool, actor=principal.user, values=filled)
    return tool


def tool_update(
    tool: SharedModel, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> SharedModel:
    """Change the name, slug, texts for people and sharing; what changes answers stands in the variants."""
    principal.require(Permission.MANAGE)
    return shared_update(tool, values, expected=expected)


def tool_delete(tool: SharedModel, *, principal: Principal) -> None:
    """Delete the tool with its variants. One that others use is protected (ProtectedError, a 409)."""
    principal.require(Permission.MANAGE)
    delete_row(tool)


def citations_store(run: Run, state: AnswerState) -> None:
    """Keep the citations of a finished run as rows, with their quotes; also of a document deleted meanwhile."""
    cited = list({one.passage.document_id for one in state.checked.citations})
    present = set(_present(workspace_id=run.workspace_id, ids=cited)) if cited else set()
    INSERT_CITATIONS(*(_citation(run, one, present) for one in state.checked.citations))


@Compiled
def _present(workspace_id: Any, ids: Any) -> "QuerySet[Any, uuid.UUID]":
    return Document.objects.for_workspace(workspace_id).filter(AnyOf("pk", ids)).values_list("pk", flat=True)


def _citation(run: Run, one: ResolvedCitation, present: Set[uuid.UUID]) -> Citation:
    passage = one.passage
    return Citation(
        workspace_id=run.workspace_id,
        run=run,
        marker=one.marker,
        document_id=passage.document_id if passage.document_id in present else None,
        document_ref=passage.document_id,
        chunk_ref=passage.chunk_id,
        title=passage.title[:500],
        url=passage.url[:2000],
        page=passage.page,
        heading_path=[heading[:500] for heading in passage.heading_path],
        quote=one.quote,
        char_start=one.char_start,
        char_end=one.char_end,
        support=one.support,
        verified=one.verified,
    )
