"""Starting a run: pin what it depends on, save it, and hand it to the event loop. Used by every door."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.exceptions import InvalidInput
from core.variant_services import variant_to_run
from llm.spending import narrower
from observability.choices import ObservabilityLevel, RunKind
from observability.models import Run
from observability.runs.work import Closing, Started, Work
from observability.services import run_create
from observability.tracing import level_of, start_trace
from rag.answering.answer import answer_object, incomplete
from rag.answering.engine import MAX_QUESTION_CHARS, AnswerState, Question, answer, settle
from rag.models import RagTool, RagVariant, RetrievalTool
from rag.retrieval.engine import Retrieved
from rag.retrieval.run import SearchState, search_events
from rag.selectors import answer_plan, retrieval_plan
from rag.services import citations_store


@transaction.atomic
def question_start(
    *,
    principal: Principal,
    tool: RagTool,
    question: Question,
    variant: int | None = None,
    max_tokens: int | None = None,
) -> Started:
    """Prepare a question to a RAG tool. max_tokens: of the answer; it narrows what is configured, never widens it.

    Raises Conflict when something that it needs is not published or indexed, InvalidInput for a question that
    is empty or too long.
    """
    principal.require(Permission.RUN)
    if not question.text.strip():
        raise InvalidInput("The question is empty.")
    if len(question.text) > MAX_QUESTION_CHARS:
        raise InvalidInput(f"The question has more than {MAX_QUESTION_CHARS:,} characters.")
    pinned: RagVariant = variant_to_run(tool, variant, principal)
    plan = answer_plan(pinned)
    plan = replace(plan, max_tokens=narrower(plan.max_tokens, max_tokens))
    given = {
        "question": question.text,
        "history": [{"role": turn.role.value, "content": turn.content} for turn in question.history],
        "filters": question.filters,
    }
    run = run_create(principal=principal, kind=RunKind.RAG_TOOL, target=tool, variant=pinned, given=given)
    state = AnswerState()
    work = Work(
        events=answer(plan, question, state),
        content=lambda: state.content,
        close=_closing_of_answer(state),
        recorder=start_trace(
            f"rag {tool.slug}",
            RunKind.RAG_TOOL,
            principal,
            target=run.target_slug,
            target_id=tool.pk,
            capture=level_of(pinned),
        ),
    )
    return Started(run, work)


def _closing_of_answer(state: AnswerState) -> Callable[[Run], Closing]:
    def close(run: Run) -> Closing:
        state.checked = settle(state)
        if run.capture != ObservabilityLevel.NONE:
            citations_store(run, state)
        return Closing(
            answer=answer_object(state),
            content=state.content,
            complete=not incomplete(state),
            finish_reason=state.finish_reason.value if state.finish_reason else "",
            resolution=state.resolution.value,
            model=state.model,
        )

    return close


@transaction.atomic
def search_start(  # what a search request holds
    *,
    principal: Principal,
    tool: RetrievalTool,
    query: str,
    top_k: int | None = None,
    filters: dict[str, Any] | None = None,
    variant: int | None = None,
) -> Started:
    """Prepare a search with a retrieval tool. Raises Conflict when nothing is published or indexed."""
    principal.require(Permission.RUN)
    pinned = variant_to_run(tool, variant, principal)
    plan = retrieval_plan(tool, pinned, top_k)
    given = {"query": query, "top_k": plan.top_k, "filters": filters}
    run = run_create(principal=principal, kind=RunKind.RETRIEVAL_TOOL, target=tool, variant=pinned, given=given)
    state = SearchState()
    work = Work(
        events=search_events(plan, query, filters, state),
        content=lambda: "",
        close=_closing_of_search(state),
        recorder=start_trace(
            f"search {tool.slug}",
            RunKind.RETRIEVAL_TOOL,
            principal,
            target=run.target_slug,
            target_id=tool.pk,
            capture=level_of(pinned),
        ),
    )
    return Started(run, work)


def _closing_of_search(state: SearchState) -> Callable[[Run], Closing]:
    def close(_run: Run) -> Closing:
        found = state.retrieved or Retrieved(())
        return Closing(answer=found.as_json(), content="", complete=state.retrieved is not None)

    return close
