"""Starting a run of a prompt template: pin what it depends on, render it, save it. Used by every door."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.exceptions import Conflict
from core.variant_services import variant_to_run
from llm.models import Model
from llm.selectors import model_by_id
from llm.spending import narrower, usage_object
from observability.choices import RunKind
from observability.models import Run
from observability.runs.work import Closing, Started, Work
from observability.services import run_create
from observability.tracing import level_of, start_trace
from plugins.contracts import ChatMessage, ChatRequest, FinishReason, MessageRole, OutputFormat
from prompts.engine import PromptPlan, PromptState, complete
from prompts.models import PromptTemplate, PromptVariant
from prompts.rendering import read_texts, render, specs_of, values_for
from prompts.schemas import ResponseFormat


@transaction.atomic
def prompt_start(
    *,
    principal: Principal,
    template: PromptTemplate,
    variables: Mapping[str, Any] = MappingProxyType({}),
    texts: Mapping[str, Any] = MappingProxyType({}),
    turns: Sequence[ChatMessage] = (),
    variant: int | None = None,
    max_tokens: int | None = None,
) -> Started:
    """Prepare a run of a prompt template. turns: what was said after the template's own messages.

    texts: variables in the form of texts, between labels of the caller's own, where a protocol has nothing else.
    max_tokens: of the answer; it narrows what is configured, never widens it.

    Raises InvalidInput for variables that do not fit, Conflict when nothing is published or no model can answer.
    """
    principal.require(Permission.RUN)
    pinned: PromptVariant = variant_to_run(template, variant, principal)
    variables = {**variables, **read_texts(specs_of(pinned.messages, pinned.variables), texts)}
    request = prompt_request(pinned, variables, turns)
    request = replace(request, max_tokens=narrower(request.max_tokens, max_tokens))
    plan = PromptPlan(_model_of(pinned), request)
    given = {
        "variables": variables,
        "messages": [{"role": turn.role.value, "content": turn.content} for turn in turns],
    }
    run = run_create(principal=principal, kind=RunKind.PROMPT_TEMPLATE, target=template, variant=pinned, given=given)
    state = PromptState()
    work = Work(
        events=complete(plan, state),
        content=lambda: state.content,
        close=_closing(state),
        recorder=start_trace(
            f"prompt {template.slug}",
            RunKind.PROMPT_TEMPLATE,
            principal,
            target=run.target_slug,
            target_id=template.pk,
            capture=level_of(pinned),
        ),
    )
    return Started(run, work)


def prompt_request(
    variant: PromptVariant, variables: Mapping[str, Any], turns: Sequence[ChatMessage] = ()
) -> ChatRequest:
    """What the model is sent: rendered messages, with the examples behind the system's. Raises InvalidInput."""
    specs = specs_of(variant.messages, variant.variables)
    messages = render(variant.messages, values_for(specs, variables))
    return ChatRequest(
        model=variant.model.identifier if variant.model else "",
        messages=(*_with_examples(messages, variant.examples), *turns),
        temperature=variant.temperature,
        top_p=variant.top_p,
        max_tokens=variant.max_tokens,
        output=_output_of(variant),
    )


def _with_examples(messages: tuple[ChatMessage, ...], examples: Sequence[Mapping[str, str]]) -> tuple[ChatMessage, ...]:
    shown = tuple(
        turn
        for one in examples
        for turn in (
            ChatMessage(MessageRole.USER, one["input"]),
            ChatMessage(MessageRole.ASSISTANT, one["output"]),
        )
    )
    first = next((n for n, one in enumerate(messages) if one.role is not MessageRole.SYSTEM), len(messages))
    return (*messages[:first], *shown, *messages[first:])


def _output_of(variant: PromptVariant) -> OutputFormat | None:
    if variant.response_format == ResponseFormat.TEXT:
        return None
    return OutputFormat(variant.output_schema or None)


def _model_of(variant: PromptVariant) -> Model:
    if variant.model_id is None:
        raise Conflict(f"Variant {variant.number} has no chat model.", hint="Choose one in a draft and publish it.")
    return model_by_id(variant.model_id)


def _closing(state: PromptState) -> Callable[[Run], Closing]:
    def close(_run: Run) -> Closing:
        return Closing(
            answer={
                "content": state.content,
                "output": state.output,
                "repaired": state.repaired,
                "citations": [],
                "degraded": [],
                "tool_calls": [],
                "usage": usage_object(state.usage),
                "model": state.model,
            },
            content=state.content,
            complete=state.finish_reason is FinishReason.STOP,
            finish_reason=state.finish_reason.value if state.finish_reason else "",
            model=state.model,
        )

    return close
