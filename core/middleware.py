"""Middleware of every request."""

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from core.context import current_request, log_fields, request_id
from core.metrics import REQUEST_DURATION, REQUESTS

logger = logging.getLogger("magnet.access")

UNLOGGED = ("/health/", "/static/", "/metrics")  # asked every few seconds, by machines
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


def accepted_id(given: str) -> str:
    """A harmless id as it was given, else a new one."""
    return given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


class RequestIdMiddleware:
    """Gives each request an id, or keeps a harmless one from X-Request-Id, and puts it on the answer and the logs.

    It also writes the access log and counts: by route, never by address, which may hold what people ask for.
    """

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
        log_fields.set({})
        began = time.perf_counter()
        if self._awaits:
            return self._async(request, identifier, began)
        try:
            response = self.get_response(request)
            assert isinstance(response, HttpResponseBase)
            return self._ended(request, response, identifier, began)
        finally:
            request_id.reset(token)
            current_request.reset(outer)

    async def _async(self, request: HttpRequest, identifier: str, began: float) -> HttpResponseBase:
        """The id stays set when the answer streams: uvicorn gives each request a context of its own."""
        answer = self.get_response(request)
        assert not isinstance(answer, HttpResponseBase)
        return self._ended(request, await answer, identifier, began)

    @staticmethod
    def _ended(request: HttpRequest, response: HttpResponseBase, identifier: str, began: float) -> HttpResponseBase:
        """A streamed answer is timed until it begins."""
        response.headers["X-Request-Id"] = identifier
        seconds = time.perf_counter() - began
        route = "/" + request.resolver_match.route if request.resolver_match else "(none)"
        REQUESTS.labels(request.method, route, str(response.status_code)).inc()
        REQUEST_DURATION.labels(request.method, route).observe(seconds)
        if not request.path.startswith(UNLOGGED):
            told = {"method": request.method, "route": route, "status": response.status_code}
            logger.info("request", extra={**told, "duration_ms": round(seconds * 1000, 1)})
        return response
