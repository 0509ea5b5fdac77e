"""Writes of retrieval and RAG tools, and the closing of their runs."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts.sharing import columns_of, shared_create, shared_update
from core.access import Permission, Principal
from core.audit import delete_row
from core.exceptions import InvalidInput
from core.sharing import SharedModel
from core.variant_services import variant_create_draft
from knowledge.models import Document
from llm.choices import ModelKind
from llm.selectors import default_model
from observability.models import Run
from rag.answering.engine import AnswerState
from rag.models import Citation, RagTool, RetrievalTool


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
    cited = {one.passage.document_id for one in state.checked.citations}
    present = set(Document.objects.for_workspace(run.workspace_id).filter(pk__in=cited).values_list("pk", flat=True))
    Citation._unscoped.bulk_create(
        Citation(
            workspace_id=run.workspace_id,
            run=run,
            marker=one.marker,
            document_id=one.passage.document_id if one.passage.document_id in present else None,
            document_ref=one.passage.document_id,
            chunk_ref=one.passage.chunk_id,
            title=one.passage.title[:500],
            url=one.passage.url[:2000],
            page=one.passage.page,
            heading_path=[heading[:500] for heading in one.passage.heading_path],
            quote=one.quote,
            char_start=one.char_start,
            char_end=one.char_end,
            support=one.support,
            verified=one.verified,
        )
        for one in state.checked.citations
    )
