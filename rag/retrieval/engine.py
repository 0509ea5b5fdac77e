"""From a query to ranked passages: embed once per model, search all sources in one round trip, widen."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.exceptions import ServiceUnavailable, UpstreamError
from knowledge.retrieval.search import Candidate, HybridQuery, SearchIndex, search, surroundings
from llm import client
from llm.models import Model
from observability.choices import ObservabilityLevel, Operation
from observability.tracing import level_now, span
from plugins.contracts import EmbeddingPurpose, Vectors
from rag.choices import SearchMode

MAX_QUERY_CHARS = 4000
# A reranker that is slower than this is left out: the fused order is good, and somebody waits for the answer.
RERANK_SECONDS = 15.0

Ranked = tuple[Candidate, float | None]
"""A passage with the reranker's score."""


@dataclass(frozen=True)
class RetrievalPlan:
    """A pinned retrieval variant with the live indexes of its sources."""

    workspace_id: uuid.UUID
    tool_slug: str
    variant: int
    indexes: tuple[SearchIndex, ...]
    mode: SearchMode
    top_k: int
    candidates: int
    dense_weight: float
    similarity_threshold: float
    neighbours: int
    rerank_model: Model | None = None
    rerank_top_n: int = 0

    @property
    def wanted(self) -> int:
        """How many passages the search is asked for: at least what the reranker reads, where there is one."""
        return max(self.top_k, self.rerank_top_n) if self.rerank_model else self.top_k


@dataclass(frozen=True)
class FoundPassage:
    """A ranked passage. context_text is the passage with its neighbours, the document's text from context_start."""

    candidate: Candidate
    context_text: str
    context_start: int
    rerank_score: float | None = None

    @property
    def chunk_id(self) -> uuid.UUID:
        return self.candidate.chunk_id

    @property
    def document_id(self) -> uuid.UUID:
        return self.candidate.document_id

    @property
    def title(self) -> str:
        return self.candidate.title

    @property
    def url(self) -> str:
        return self.candidate.url

    @property
    def page(self) -> int | None:
        return self.candidate.page

    @property
    def heading_path(self) -> tuple[str, ...]:
        return tuple(self.candidate.heading_path)

    def as_json(self) -> dict[str, Any]:
        """As `api.md` shows a search result. Scores: fused 0 to 1; ranks from 1, null where a search missed it."""
        found = self.candidate
        return {
            "chunk_id": str(found.chunk_id),
            "document_id": str(found.document_id),
            "source_id": str(found.source_id),
            "title": found.title,
            "url": found.url,
            "text": found.text,
            "page": found.page,
            "heading_path": list(found.heading_path),
            "char_start": found.char_start,
            "char_end": found.char_end,
            "score": _rounded(found.score),
            "dense_score": _rounded(found.dense_score),
            "dense_rank": found.dense_rank,
            "lexical_score": _rounded(found.lexical_score),
            "lexical_rank": found.lexical_rank,
            "rerank_score": _rounded(self.rerank_score),
        }


@dataclass(frozen=True)
class Retrieved:
    """Passages, best first; milliseconds by stage; what was down (`dense`, `rerank`)."""

    passages: tuple[FoundPassage, ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The passages as a reader sees them, numbered as in the context."""
        return {
            "results": [{"marker": number, **one.as_json()} for number, one in enumerate(self.passages, start=1)],
            "timings": dict(self.timings),
            "degraded": list(self.degraded),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


async def retrieve(plan: RetrievalPlan, query: str, filters: Mapping[str, Any] | None = None) -> Retrieved:
    """Search the plan's sources.

    When embedding fails, a hybrid search goes on with words alone and says so in `degraded`; a dense one fails.
    When reranking fails, the passages keep their order, and `degraded` says so.
    Raises InvalidInput for filters that the sources do not declare.
    """
    with span(f"retrieval {plan.tool_slug}", Operation.RETRIEVAL) as record:
        retrieved = await _retrieve(plan, query, filters)
        record.set(**{"magnet.passages": len(retrieved.passages), "magnet.degraded": list(retrieved.degraded)})
        record.set(**_told(query, retrieved.passages))
    return retrieved


def _told(query: str, passages: Sequence[FoundPassage]) -> dict[str, Any]:
    """What the span keeps: ids and scores at the level metadata, the words at full, nothing of either at none."""
    level = level_now()
    if level is ObservabilityLevel.NONE:
        return {}
    full = level is ObservabilityLevel.FULL
    documents = [
        {
            "id": str(one.chunk_id),
            "score": _rounded(one.candidate.score),
            "document_id": str(one.document_id),
            **({} if one.rerank_score is None else {"rerank_score": _rounded(one.rerank_score)}),
            **({"title": one.title, "content": one.context_text} if full else {}),
        }
        for one in passages
    ]
    return {"gen_ai.retrieval.documents": documents, **({"gen_ai.retrieval.query.text": query} if full else {})}


async def _retrieve(plan: RetrievalPlan, query: str, filters: Mapping[str, Any] | None) -> Retrieved:
    started = time.perf_counter()
    vectors, degraded = await _query_vectors(plan, query[:MAX_QUERY_CHARS])
    embedded = time.perf_counter()
    found = await search(
        HybridQuery(
            workspace_id=plan.workspace_id,
            indexes=plan.indexes,
            text=query[:MAX_QUERY_CHARS],
            vectors=vectors,
            mode=SearchMode.LEXICAL.value if degraded else plan.mode.value,
            limit=plan.wanted,
            candidates=plan.candidates,
            dense_weight=plan.dense_weight,
            filters=filters,
        )
    )
    kept = [one for one in found if _similar_enough(one, plan)]
    searched = time.perf_counter()
    ranked, down = await _rerank(plan, query[:MAX_QUERY_CHARS], kept)
    reranked = time.perf_counter()
    passages = await _widen(ranked, plan.neighbours)
    timings = {
        "embed_ms": round((embedded - started) * 1000, 1),
        "search_ms": round((searched - embedded) * 1000, 1),
        **({"rerank_ms": round((reranked - searched) * 1000, 1)} if plan.rerank_model else {}),
        "total_ms": round((time.perf_counter() - started) * 1000, 1),
    }
    return Retrieved(passages, timings, (*degraded, *down))


async def _rerank(plan: RetrievalPlan, query: str, found: Sequence[Candidate]) -> tuple[list[Ranked], tuple[str, ...]]:
    """The passages that are handed on, best first. What is not scored follows in the order of the fusion."""
    fused: list[Ranked] = [(one, None) for one in found]
    if plan.rerank_model is None:
        return fused[: plan.top_k], ()
    try:
        texts = [one.text for one in found[: plan.rerank_top_n]]
        scores = await client.rerank(plan.rerank_model, query, texts, top_n=plan.top_k, deadline=RERANK_SECONDS)
    except (UpstreamError, ServiceUnavailable):
        return fused[: plan.top_k], ("rerank",)
    scored = {one.index for one in scores}
    best: list[Ranked] = [(found[one.index], one.score) for one in scores]
    rest = [one for place, one in enumerate(fused) if place not in scored]
    return [*best, *rest][: plan.top_k], ()


async def _query_vectors(plan: RetrievalPlan, query: str) -> tuple[dict[uuid.UUID, Vectors], tuple[str, ...]]:
    """One query vector per embedding model, by model id."""
    if plan.mode is SearchMode.LEXICAL:
        return {}, ()
    models = {index.model.pk: index.model for index in plan.indexes}
    try:
        return {
            pk: (await client.embed(model, [query], purpose=EmbeddingPurpose.QUERY))[0] for pk, model in models.items()
        }, ()
    except (UpstreamError, ServiceUnavailable):
        if plan.mode is SearchMode.DENSE:
            raise
        return {}, ("dense",)


def _similar_enough(candidate: Candidate, plan: RetrievalPlan) -> bool:
    """The threshold is on cosine similarity; at 0 it drops nothing, and what has no similarity stays."""
    if plan.similarity_threshold <= 0 or candidate.dense_score is None:
        return True
    return candidate.dense_score >= plan.similarity_threshold


async def _widen(found: Sequence[Ranked], neighbours: int) -> tuple[FoundPassage, ...]:
    if not neighbours:
        return tuple(FoundPassage(one, one.text, one.char_start, score) for one, score in found)
    wider = await surroundings([one.chunk_id for one, _score in found], neighbours)
    return tuple(FoundPassage(one, *wider.get(one.chunk_id, (one.text, one.char_start)), score) for one, score in found)
