"""Middleware of every request."""

import re
import uuid
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from core.context import current_request, request_id

ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


def accepted_id(given: str) -> str:
    """A harmless id as it was given, else a new one."""
    return given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


class RequestIdMiddleware:
    """Gives each request an id, or keeps a harmless one from X-Request-Id, and puts it on the answer and the logs."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        self._awaits = iscoroutinefunction(get_response)
        if self._awaits:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        identifier = accepted_id(request.headers.get("X-Request-Id", ""))
        token, outer = request_id.set(identifier), current_request.set(request)
        if self._awaits:
            return self._async(request, identifier)
        try:
            response = self.get_response(request)
            assert isinstance(response, HttpResponseBase)
            response.headers["X-Request-Id"] = identifier
            return response
        finally:
            request_id.reset(token)
            current_request.reset(outer)

    async def _async(self, request: HttpRequest, identifier: str) -> HttpResponseBase:
        """The id stays set when the answer streams: uvicorn gives each request a context of its own."""
        answer = self.get_response(request)
        assert not isinstance(answer, HttpResponseBase)
        response = await answer
        response.headers["X-Request-Id"] = identifier
        return response
