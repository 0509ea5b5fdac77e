"""Engines for tests of runs: they say what they are told to."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.access import Principal, Role
from observability.models import Run
from observability.runs.events import Event, EventName
from observability.runs.work import Closing, Work
from observability.tracing import TraceRecorder


@dataclass
class Script:
    """An engine that says each text, waits between them, and then ends, hangs or raises."""

    texts: Sequence[str] = ("Twenty ", "five ", "days.")
    pause: float = 0.0
    hangs: bool = False
    raises: BaseException | None = None
    complete: bool = True
    close_raises: BaseException | None = None
    before: Sequence[Event] = ()
    content: str = ""
    ended: bool = False
    answer: dict[str, Any] = field(default_factory=dict)
    closed: int = 0

    async def events(self) -> AsyncGenerator[Event]:
        try:
            for event in self.before:
                yield event
            for text in self.texts:
                await asyncio.sleep(self.pause)
                self.content += text
                yield Event(EventName.MESSAGE_DELTA, {"text": text})
            if self.hangs:
                await asyncio.Event().wait()
            if self.raises is not None:
                raise self.raises
        finally:
            self.ended = True

    def close(self, run: Run) -> Closing:
        self.closed += 1
        if self.close_raises is not None:
            raise self.close_raises
        reason = "stop" if self.complete else "provider_cut"
        answer = {"content": self.content, "citations": [], "finish_reason": reason, **self.answer}
        return Closing(answer, self.content, self.complete, reason, "answered", "scripted")

    def work(self, run: Run) -> Work:
        recorder = TraceRecorder("rag handbook-qa", run.kind, run.workspace_id, run.user_id, run.key_id)
        return Work(self.events(), lambda: self.content, self.close, recorder)


def author_of(run: Run) -> Principal:
    return Principal(run.user, run.workspace_id, run.workspace.slug, Role.USER)
