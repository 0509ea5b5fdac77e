"""From a question to a cited answer, as typed events. No HTTP, no Celery, no writes."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from llm import client
from llm.models import Model
from observability.runs.events import Event, EventName
from plugins.contracts import (
    REFUSAL,
    ChatMessage,
    ChatRequest,
    FinishReason,
    MessageRole,
    TokenUsage,
)
from prompts.rendering import render, specs_of, values_for
from rag.answering.citations import Checked, check_citations
from rag.answering.context import Passage, grounding, render_context
from rag.answering.markers import MarkerResolver
from rag.choices import Resolution
from rag.retrieval.engine import FoundPassage, RetrievalPlan, Retrieved, retrieve

MAX_QUESTION_CHARS = 20_000
NOTHING_FOUND = "I found nothing about this in the sources."


@dataclass(frozen=True)
class AnswerPlan:
    """Everything that an answer depends on, pinned when the run starts."""

    retrieval: RetrievalPlan
    model: Model
    messages: Sequence[Any]
    variables: Sequence[Any] = ()
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Turn:
    """One earlier message of the dialogue: role `user` or `assistant`."""

    role: MessageRole
    content: str


@dataclass(frozen=True)
class Question:
    """What the caller asks. filters: as in `api.md`, over the fields that the sources declare."""

    text: str
    history: tuple[Turn, ...] = ()
    filters: dict[str, Any] | None = None


@dataclass
class AnswerState:
    """What has come together so far; the service stores it, also when the run ends early."""

    content: str = ""
    retrieved: Retrieved | None = None
    passages: tuple[Passage, ...] = ()
    checked: Checked = field(default_factory=lambda: Checked((), ()))
    usage: TokenUsage | None = None
    finish_reason: FinishReason | None = None
    refused: bool = False
    dropped_markers: int = 0
    model: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def resolution(self) -> Resolution:
        if not self.passages:
            return Resolution.NO_RESULTS
        if self.refused or self.content.strip().startswith(REFUSAL):
            return Resolution.NOT_ANSWERED
        return Resolution.ANSWERED


async def answer(plan: AnswerPlan, question: Question, state: AnswerState) -> AsyncIterator[Event]:
    """Retrieve, then stream the answer. Fills `state`; raises what retrieval or the model raise."""
    started = time.perf_counter()
    state.retrieved = await retrieve(plan.retrieval, question.text, question.filters)
    state.passages = tuple(_numbered(state.retrieved.passages))
    state.timings = {**state.retrieved.timings}
    yield Event(EventName.RETRIEVAL_COMPLETED, state.retrieved.as_json())
    if not state.passages:
        state.content, state.finish_reason = NOTHING_FOUND, FinishReason.STOP
        yield Event(EventName.MESSAGE_DELTA, {"text": NOTHING_FOUND})
        return
    async for text in _stream(plan, question, state, started):
        state.content += text
        yield Event(EventName.MESSAGE_DELTA, {"text": text})
    state.checked = settle(state)
    for citation in state.checked.citations:
        yield Event(EventName.CITATION, {"marker": citation.marker, **citation_fields(citation)})


def settle(state: AnswerState) -> Checked:
    """The citations of what has been said; also called for an answer that was cut off."""
    if state.resolution is not Resolution.ANSWERED:
        return Checked((), ())
    return check_citations(state.content, state.passages)


async def _stream(plan: AnswerPlan, question: Question, state: AnswerState, started: float) -> AsyncIterator[str]:
    """The answer's text with its markers resolved. Its last delta carries finish reason and usage."""
    request = _request(plan, question, state.passages)
    resolver = MarkerResolver(known=frozenset(passage.marker for passage in state.passages))
    state.finish_reason = FinishReason.PROVIDER_CUT
    try:
        async with aclosing(client.stream_chat(plan.model, request)) as deltas:
            async for delta in deltas:
                text = resolver.feed(delta.text)
                if text:
                    state.timings.setdefault("first_token_ms", round((time.perf_counter() - started) * 1000, 1))
                    yield text
                _note(state, delta)
        rest = resolver.finish()
        if rest:
            yield rest
    finally:
        state.dropped_markers = resolver.dropped


def _note(state: AnswerState, delta: Any) -> None:
    state.refused = state.refused or delta.refused
    state.model = delta.model or state.model
    state.usage = delta.usage or state.usage
    state.finish_reason = delta.finish_reason or state.finish_reason


def _request(plan: AnswerPlan, question: Question, passages: Sequence[Passage]) -> ChatRequest:
    specs = specs_of(plan.messages, plan.variables)
    given = {"question": question.text, "context": render_context(passages)}
    values = values_for(specs, {name: value for name, value in given.items() if name in specs})
    messages = render(plan.messages, values)
    history = tuple(ChatMessage(turn.role, turn.content) for turn in question.history)
    system = tuple(message for message in messages if message.role is MessageRole.SYSTEM)
    rest = tuple(message for message in messages if message.role is not MessageRole.SYSTEM)
    return ChatRequest(
        model=plan.model.identifier,
        messages=(*system, *history, *rest),
        temperature=plan.temperature,
        top_p=plan.top_p,
        max_tokens=plan.max_tokens,
        grounding=grounding(question.text, passages),
    )


def _numbered(found: Sequence[FoundPassage]) -> list[Passage]:
    return [
        Passage(
            marker=number,
            chunk_id=one.chunk_id,
            document_id=one.document_id,
            title=one.title,
            url=one.url,
            page=one.page,
            heading_path=one.heading_path,
            text=one.context_text,
            char_start=one.context_start,
            char_end=one.context_start + len(one.context_text),
        )
        for number, one in enumerate(found, start=1)
    ]


def citation_fields(citation: Any) -> dict[str, Any]:
    passage: Passage = citation.passage
    return {
        "document_id": str(passage.document_id),
        "chunk_id": str(passage.chunk_id),
        "title": passage.title,
        "url": passage.url,
        "page": passage.page,
        "heading_path": list(passage.heading_path),
        "quote": citation.quote,
        "char_start": citation.char_start,
        "char_end": citation.char_end,
        "support": round(citation.support, 3),
        "verified": citation.verified,
    }
