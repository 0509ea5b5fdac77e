"""The answer object of a run: the same in JSON, in the last event of a stream and on the panel."""

from typing import Any

from llm.spending import usage_object
from plugins.contracts import FinishReason
from rag.answering.engine import AnswerState, citation_fields
from rag.retrieval.engine import Retrieved


def answer_object(state: AnswerState) -> dict[str, Any]:
    """The part of the answer object that this engine knows; the run adds id, status, trace and duration."""
    retrieved = (state.retrieved or Retrieved(())).as_json()
    return {
        "finish_reason": state.finish_reason.value if state.finish_reason else None,
        "content": state.content,
        "citations": [
            {"marker": one.marker, **citation_fields(one), "source_status": "current"}
            for one in state.checked.citations
        ],
        "unsupported": [{"start": start, "end": end} for start, end in state.checked.unsupported],
        "dropped_markers": state.dropped_markers,
        "degraded": retrieved["degraded"],
        "retrieved": retrieved["results"],
        "tool_calls": [],
        "usage": usage_object(state.usage),
        "resolution": state.resolution.value,
        "model": state.model,
        "timings": state.timings,
    }


def incomplete(state: AnswerState) -> bool:
    """An answer that a provider cut or a limit ended is not a complete one."""
    return state.finish_reason is not FinishReason.STOP
