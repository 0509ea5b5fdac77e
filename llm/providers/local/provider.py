"""The provider that runs here: the embedding model and the extractive answerer, behind the same door as any vendor."""

import asyncio
import re
from collections.abc import AsyncIterator

import numpy as np

from llm.providers.local import embedding
from plugins.contracts import (
    REFUSAL,
    ChatDelta,
    ChatRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    ListedModel,
    Provider,
    ProviderFailure,
    TokenUsage,
)

EXTRACTIVE = "extractive"
LIMITS = (
    "It answers by quoting your documents, sentence by sentence, and works best in English. It does not write freely, "
    "chat, follow prompt templates or call tools. Connect a chat model for that."
)
PIECE = re.compile(r"\s*\S+(?:\s+\S+){0,2}")


class LocalProvider(Provider):
    """Models of this machine. The work is done in a thread, so that the event loop goes on."""

    async def close(self) -> None:
        return

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """A cited answer from the passages in `request.grounding`, or a refusal; a few words a delta."""
        if request.model != EXTRACTIVE:
            raise ProviderFailure("unsupported", f"There is no local chat model '{request.model}'.")
        if request.grounding is None:
            raise ProviderFailure("unsupported", f"'{EXTRACTIVE}' answers from passages alone. {LIMITS}")
        from llm.providers.local.extractive.answerer import compose

        answer = await asyncio.to_thread(compose, request.grounding)
        text = REFUSAL if answer is None else answer
        for piece in PIECE.findall(text):
            yield ChatDelta(text=piece)
            await asyncio.sleep(0)
        passages = request.grounding.passages
        usage = TokenUsage(
            input_tokens=sum(embedding.count_tokens(passage.text) for passage in passages),
            output_tokens=embedding.count_tokens(text),
        )
        yield ChatDelta(finish_reason=FinishReason.STOP, usage=usage, model=EXTRACTIVE, refused=answer is None)

    async def list_models(self) -> tuple[ListedModel, ...]:
        return (
            ListedModel(embedding.IDENTIFIER, "embedding", "all-MiniLM-L6-v2", embedding.MAX_TOKENS),
            ListedModel(EXTRACTIVE, "chat", "Extractive"),
        )

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        if request.model != embedding.IDENTIFIER:
            raise ProviderFailure("unsupported", f"There is no local embedding model '{request.model}'.")
        vectors = np.zeros((len(request.texts), embedding.DIMENSIONS), dtype=np.float32)
        tokens = 0
        parts = embedding.embed_in_parts(request.texts)
        # One call of the model at a time: a cancelled request ends after the one that is under way.
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            places, rows, count = part
            vectors[places] = rows
            tokens += count
        return EmbeddingResponse(vectors, TokenUsage(input_tokens=tokens), embedding.IDENTIFIER)
