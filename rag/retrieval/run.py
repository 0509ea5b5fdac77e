"""A search as a run: one event with the passages."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from observability.runs.events import Event, EventName
from rag.retrieval.engine import RetrievalPlan, Retrieved, retrieve


@dataclass
class SearchState:
    """What the search found; None until it is done."""

    retrieved: Retrieved | None = None


async def search_events(
    plan: RetrievalPlan, query: str, filters: Mapping[str, Any] | None, state: SearchState
) -> AsyncIterator[Event]:
    """Search and tell it."""
    state.retrieved = await retrieve(plan, query, filters)
    yield Event(EventName.RETRIEVAL_COMPLETED, state.retrieved.as_json())
