"""Trying a model: one small call that shows whether it answers."""

import time
from dataclasses import dataclass

from asgiref.sync import async_to_sync

from core.access import Permission, Principal
from llm import client
from llm.choices import ModelKind
from llm.models import Model
from observability.tracing import recording, start_trace
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    EmbeddingPurpose,
    Grounding,
    GroundingPassage,
    MessageRole,
)

TRIAL_SECONDS = 60.0
PASSAGE = "The test call of a model reaches it and comes back with an answer."


@dataclass(frozen=True)
class Trial:
    """What came back. text: of a chat model. dimensions: of an embedding model. replied: the vendor's name."""

    duration_ms: float
    replied: str
    text: str = ""
    dimensions: int | None = None


def model_try(model: Model, *, principal: Principal) -> Trial:
    """Call the model once, with a trace. Raises UpstreamError or ServiceUnavailable, which quote the vendor without
    its credentials."""
    principal.require(Permission.MANAGE)
    recorder = start_trace(f"Test of {model.slug}", "model_test", principal, target=model.slug)
    try:
        with recording(recorder):
            return async_to_sync(try_model)(model)
    finally:
        recorder.save()


async def try_model(model: Model) -> Trial:
    """Call the model once. Raises what `model_try` raises."""
    started = time.perf_counter()
    if model.kind == ModelKind.EMBEDDING:
        vectors = await client.embed(
            model, [PASSAGE], purpose=EmbeddingPurpose.QUERY, deadline=TRIAL_SECONDS, alone=True
        )
        return Trial(_milliseconds(started), model.identifier, dimensions=vectors.shape[1])
    if model.kind == ModelKind.RERANK:
        documents = [PASSAGE, "Rain."]
        await client.rerank(model, "What does a test call reach?", documents, deadline=TRIAL_SECONDS, alone=True)
        return Trial(_milliseconds(started), model.identifier)
    question = "What does the test call of a model reach?"
    request = ChatRequest(
        model=model.identifier,
        messages=(ChatMessage(MessageRole.USER, f"{PASSAGE}\n{question} Answer in one short sentence."),),
        grounding=Grounding(question, (GroundingPassage(1, PASSAGE),)),
    )
    text, replied = "", ""
    async for delta in client.stream_chat(model, request, deadline=TRIAL_SECONDS, alone=True):
        text += delta.text
        replied = delta.model or replied
    return Trial(_milliseconds(started), replied, text=text)


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
