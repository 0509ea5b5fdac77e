"""Jina, Voyage and Hugging Face's Text Embeddings Inference: rerank and embedding models."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm.providers.http import HttpProvider
from llm.providers.listing import guessed_kind
from plugins.contracts import (
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    Endpoint,
    ListedModel,
    ProviderFailure,
    RerankRequest,
    RerankResponse,
    RerankScore,
    TokenUsage,
)


def read_ranking(answer: Any, request: RerankRequest) -> RerankResponse:
    """The scores in `results` (Cohere, Jina, vLLM), in `data` (Voyage), or in a plain list (TEI).

    Raises ProviderFailure for an answer of another shape.
    """
    try:
        about = answer if isinstance(answer, dict) else {}
        rows = (about.get("results") or about["data"]) if about else answer
        scores = tuple(RerankScore(int(row["index"]), float(_score(row))) for row in rows)
        tokens = (about.get("usage") or {}).get("total_tokens")
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ProviderFailure("bad_response", "The model provider sent something that is no ranking.") from None
    usage = TokenUsage(input_tokens=tokens) if isinstance(tokens, int) else TokenUsage(estimated=True)
    return RerankResponse(scores, usage, str(about.get("model") or request.model))


def _score(row: Mapping[str, Any]) -> float:
    score: float = row["relevance_score"] if "relevance_score" in row else row["score"]
    return score


def read_vectors(rows: Any, count: int) -> Any:
    """Vectors, shape (count, dimensions), float32. Raises ProviderFailure for anything else."""
    try:
        vectors = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        raise ProviderFailure("bad_response", "The model provider sent something that is no vector.") from None
    if vectors.ndim != 2 or len(vectors) != count:
        raise ProviderFailure("bad_response", f"The model sent {len(vectors)} vectors for {count} texts.")
    return vectors


class _BearerProvider(HttpProvider):
    base = ""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
        super().__init__(endpoint, base_url=self.base, headers=headers)

    def embed_settings(self, request: EmbeddingRequest) -> dict[str, Any]:
        """What this vendor wants to know beside model and texts."""
        raise NotImplementedError

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        body = {"model": request.model, "input": list(request.texts), **self.embed_settings(request)}
        answer = await self.post("/embeddings", body)
        try:
            rows = [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]
            tokens = (answer.get("usage") or {}).get("total_tokens")
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no vector.") from None
        usage = TokenUsage(input_tokens=tokens) if isinstance(tokens, int) else TokenUsage(estimated=True)
        return EmbeddingResponse(read_vectors(rows, len(request.texts)), usage, request.model)


class JinaProvider(_BearerProvider):
    """Jina AI, or a server that speaks its protocol."""

    base = "https://api.jina.ai/v1"

    def embed_settings(self, request: EmbeddingRequest) -> dict[str, Any]:
        # The second generation knows no tasks.
        asked = "-v2-" not in request.model and request.model.startswith("jina-embeddings")
        task = {"task": f"retrieval.{request.purpose.value}"} if asked else {}
        return {**task, **({"dimensions": request.dimensions} if request.dimensions is not None else {})}

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        body: dict[str, Any] = {
            "model": request.model,
            "query": request.query,
            "documents": list(request.documents),
            "return_documents": False,
        }
        if request.top_n is not None:
            body["top_n"] = request.top_n
        return read_ranking(await self.post("/rerank", body), request)


class VoyageProvider(_BearerProvider):
    """Voyage AI."""

    base = "https://api.voyageai.com/v1"

    def embed_settings(self, request: EmbeddingRequest) -> dict[str, Any]:
        kind = "query" if request.purpose is EmbeddingPurpose.QUERY else "document"
        size = {"output_dimension": request.dimensions} if request.dimensions is not None else {}
        return {"input_type": kind, **size}

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        body: dict[str, Any] = {"model": request.model, "query": request.query, "documents": list(request.documents)}
        if request.top_n is not None:
            body["top_k"] = request.top_n
        return read_ranking(await self.post("/rerank", body), request)


class TeiProvider(_BearerProvider):
    """A server of one model: the identifier is a name for people."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        rows = await self.post("/embed", {"inputs": list(request.texts), "truncate": True})
        return EmbeddingResponse(read_vectors(rows, len(request.texts)), TokenUsage(estimated=True), request.model)

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """It scores all; the best are chosen here."""
        body = {"query": request.query, "texts": list(request.documents), "truncate": True}
        answer = read_ranking(await self.post("/rerank", body), request)
        best = sorted(answer.scores, key=lambda one: -one.score)[: request.top_n]
        return RerankResponse(tuple(best), answer.usage, request.model)

    async def list_models(self) -> tuple[ListedModel, ...]:
        about = await self.get("/info")
        try:
            name = str(about["model_id"])
            kind = "rerank" if "reranker" in (about.get("model_type") or {}) else guessed_kind(name)
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no description.") from None
        return (ListedModel(name, kind),)
