"""The endpoints of /v1 that run something: chat completions and responses."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from pydantic import BaseModel
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core.access import Permission, Principal
from core.api.idempotency import REPLAYED
from core.api.negotiation import OneForm
from core.api.sse import stream_response
from core.api.watch import Numbered
from core.exceptions import PermissionRefused
from doors.answers import end_problem
from doors.api.described import DoorSchema
from doors.api.examples import CHAT_COMPLETIONS, RESPONSES
from doors.api.schemas import ChatCompletion, ResponseObject
from doors.asked import Asked
from doors.chat import ChatChunks, completion
from doors.errors import exception_handler
from doors.reading import chat_asked, read, responses_asked
from doors.requests import ChatCompletionRequest, ResponseRequest
from doors.responses import ResponseEvents, response
from doors.starting import run_start
from doors.targets import find_target
from observability.api.runs import RunView
from observability.runs import live
from observability.runs.events import EventName
from observability.runs.live import RunFailed
from observability.runs.work import Started, StopReason

RUN_OR_MODELS = ("user", "run or models")


def require_run_or_models(principal: Principal) -> None:
    """Raise PermissionRefused for who may neither run tools nor models."""
    if not (principal.allows(Permission.RUN) or principal.allows(Permission.MODELS)):
        raise PermissionRefused("This API key lacks the scopes 'run' and 'models'; one of them is needed.")


class DoorMixin:
    """What all views of /v1 share: OpenAI's errors, and JSON whatever the caller accepts."""

    renderer_classes: Any = (JSONRenderer,)
    content_negotiation_class: Any = OneForm
    schema: Any = DoorSchema()

    def get_exception_handler(self) -> Callable[..., Response]:
        return exception_handler

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        """The caller's standing as OpenAI's clients look for it, beside our own headers."""
        response = super().finalize_response(*args, **kwargs)  # type: ignore[misc]  # of the view, which follows
        standing = getattr(self, "standing", None)
        if standing is not None:
            response.headers["x-ratelimit-limit-requests"] = str(standing.limit)
            response.headers["x-ratelimit-remaining-requests"] = str(standing.remaining)
            response.headers["x-ratelimit-reset-requests"] = f"{standing.seconds}s"
        return response


class _AnswerView(DoorMixin, RunView):
    """A run that is answered in the shape of its endpoint, and ended at once when its caller leaves."""

    permissions: ClassVar[dict[str, Permission | None]] = {"post": None}
    own_rules: ClassVar[dict[str, Permission | tuple[str, str]]] = {"post": RUN_OR_MODELS}
    body: ClassVar[type[BaseModel]]

    def asked(self, form: Any) -> Asked:
        """What the checked body asks for."""
        raise LookupError(f"{type(self).__name__} reads nothing.")

    def whole(self, asked: Asked, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer of a run in one object."""
        raise LookupError(f"{type(self).__name__} tells nothing.")

    def teller(self, asked: Asked, run_id: uuid.UUID) -> ChatChunks | ResponseEvents:
        """What turns the events of a run into frames."""
        raise LookupError(f"{type(self).__name__} streams nothing.")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST":
            require_run_or_models(self.principal)

    def require_reader(self) -> None:
        """Raises MagnetError when the caller's credentials end, or the run could not begin for them any more.

        By the row, and not by its name: that may be the name of something else by now.
        """
        find_target(self.renewed_principal(), f"{self.target.kind}:{self.target.row.pk}")

    async def answer(self, request: Request) -> Any:
        """Execute, and answer in the form that was asked for."""
        asked, (run_id, started) = self.wanted, self.begun
        if started is not None:
            await live.start(started.run, started.work)
        headers = {} if started is not None else {REPLAYED: "true"}
        if asked.stream:
            events: AsyncIterator[Numbered] = live.follow(run_id)
            if started is not None:
                events = _owned(events, run_id)
            tell = self.teller(asked, run_id).frames
            return stream_response(events, headers, watch=self.watch(run_id), tell=tell, released=True)
        answer = await self.waited_for(run_id)
        problem = end_problem(answer) if answer["status"] == "cancelled" else None
        if problem is not None:
            raise RunFailed(problem)
        return Response(self.whole(asked, answer), headers=headers)

    def save_run(self, request: Request, *args: Any, **kwargs: Any) -> tuple[uuid.UUID, Started | None]:
        self.wanted = self.asked(read(self.body, request.data))
        self.target = find_target(self.principal, self.wanted.model)
        return self.begun_once(request, lambda: run_start(self.principal, self.target, self.wanted))


async def _owned(events: AsyncIterator[Numbered], run_id: uuid.UUID) -> AsyncIterator[Numbered]:
    """The events of a run that is cancelled when its reader leaves before the end."""
    over = False
    try:
        async with aclosing(events) as told:  # type: ignore[type-var]  # an async generator
            async for event in told:
                over = event.name in (EventName.RUN_COMPLETED, EventName.RUN_CANCELLED)
                yield event
    finally:
        if not over:
            await live.cancel(run_id, StopReason.GONE)


class ChatCompletionsView(_AnswerView):
    examples = CHAT_COMPLETIONS
    body = ChatCompletionRequest

    @extend_schema(
        operation_id="openai_chat_completions",
        request=ChatCompletionRequest,
        responses={200: ChatCompletion, (200, "text/event-stream"): OpenApiTypes.STR},
        tags=["v1"],
    )
    async def post(self, request: Request) -> Any:
        """Chat with a RAG tool, a prompt template or a raw model, in OpenAI's shape.

        `model` is a slug (`handbook-qa`, `handbook-qa@3` for a variant, `rag:…` and `prompt:…` where it has to be
        clear), or a raw model for keys with the scope `models`. For slugs the configured instructions rule: system
        messages become data, settings are ignored but for a lower `max_tokens`, variables come in `metadata`.
        """
        return await self.answer(request)

    def asked(self, form: Any) -> Asked:
        return chat_asked(form)

    def whole(self, asked: Asked, answer: dict[str, Any]) -> dict[str, Any]:
        return completion(asked.model, answer)

    def teller(self, asked: Asked, run_id: uuid.UUID) -> ChatChunks:
        return ChatChunks(asked.model, run_id, include_usage=asked.include_usage)


class ResponsesView(_AnswerView):
    examples = RESPONSES
    body = ResponseRequest

    @extend_schema(
        operation_id="openai_responses",
        request=ResponseRequest,
        responses={200: ResponseObject, (200, "text/event-stream"): OpenApiTypes.STR},
        tags=["v1"],
    )
    async def post(self, request: Request) -> Any:
        """The same over OpenAI's responses: `input` holds all messages, as nothing is stored between requests."""
        return await self.answer(request)

    def asked(self, form: Any) -> Asked:
        return responses_asked(form)

    def whole(self, asked: Asked, answer: dict[str, Any]) -> dict[str, Any]:
        return response(asked, answer)

    def teller(self, asked: Asked, run_id: uuid.UUID) -> ResponseEvents:
        return ResponseEvents(asked, run_id)
