"""Reads across retrieval tools, RAG tools and what they are made of."""

import uuid
from typing import Any

from django.db.models import QuerySet

from core.access import Principal
from core.compiled import Compiled
from core.exceptions import Conflict
from core.sharing import visible_to
from core.variant_services import variants_resolve
from knowledge.models import KnowledgeSource
from knowledge.selectors import search_indexes
from llm.choices import ModelKind, ProviderType
from llm.selectors import model_by_id
from rag.answering.engine import AnswerPlan
from rag.choices import SearchMode
from rag.models import RagTool, RagVariant, RetrievalTool, RetrievalVariant
from rag.retrieval.engine import RetrievalPlan


def rag_tools_of(principal: Principal) -> QuerySet[RagTool]:
    """The RAG tools that the caller may know of and run."""
    return visible_to(RagTool.objects.for_workspace(principal.workspace_id), principal)


def served_without_vendor(workspace_id: uuid.UUID) -> QuerySet[RagVariant]:
    """Served variants whose model is the local one, which only quotes."""
    rows = RagVariant.objects.for_workspace(workspace_id)
    return rows.filter(is_active=True, model__kind=ModelKind.CHAT, model__provider__type=ProviderType.LOCAL)


def retrieval_tools_of(principal: Principal) -> QuerySet[RetrievalTool]:
    """The same for retrieval tools."""
    return visible_to(RetrievalTool.objects.for_workspace(principal.workspace_id), principal)


def retrieval_plan(tool: RetrievalTool, variant: RetrievalVariant, top_k: int | None = None) -> RetrievalPlan:
    """What a search with this variant does now. Raises Conflict when its sources hold no searchable document."""
    source_ids = _sources_of(workspace_id=tool.workspace_id, variant=variant.pk)
    indexes = search_indexes(tool.workspace_id, source_ids)
    if not indexes:
        raise Conflict(
            f"The knowledge sources of '{tool.slug}' are not indexed yet.",
            hint="Choose a source in the variant and add documents to it; the jobs show how far they are.",
        )
    return RetrievalPlan(
        workspace_id=tool.workspace_id,
        tool_slug=tool.slug,
        variant=variant.number,
        indexes=tuple(indexes),
        mode=SearchMode(variant.mode),
        top_k=top_k or variant.top_k,
        candidates=variant.candidates,
        dense_weight=variant.dense_weight,
        similarity_threshold=variant.similarity_threshold,
        neighbours=variant.neighbours,
        rerank_model=model_by_id(variant.rerank_model_id) if variant.rerank_model_id else None,
        rerank_top_n=variant.rerank_top_n,
    )


@Compiled
def _sources_of(workspace_id: Any, variant: Any) -> "QuerySet[Any, uuid.UUID]":
    rows = KnowledgeSource.objects.for_workspace(workspace_id).filter(retrieval_uses__variant=variant)
    return rows.values_list("pk", flat=True)


@Compiled
def _with_parts(workspace_id: Any, pk: Any) -> QuerySet[RagVariant]:
    rows = RagVariant.objects.for_workspace(workspace_id).select_related("retrieval_tool", "prompt", "model__provider")
    return rows.filter(pk=pk)


def answer_plan(variant: RagVariant) -> AnswerPlan:
    """Pin everything that an answer depends on."""
    (parts,) = _with_parts(workspace_id=variant.workspace_id, pk=variant.pk)
    retrieval_variant, prompt = variants_resolve(
        (parts.retrieval_tool, variant.retrieval_variant), (parts.prompt, variant.prompt_variant)
    )
    return AnswerPlan(
        retrieval=retrieval_plan(parts.retrieval_tool, retrieval_variant),
        model=parts.model,
        messages=prompt.messages,
        variables=prompt.variables,
        temperature=prompt.temperature,
        top_p=prompt.top_p,
        max_tokens=prompt.max_tokens,
    )
