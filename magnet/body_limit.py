"""Refuse a body that is too large before it is read: by its stated length, or when a chunked one grows over it."""

import json
from typing import Any

from core.middleware import accepted_id

Scope = dict[str, Any]


class BodyTooLarge(Exception):
    """The client sent more than the cap."""


class BodyLimit:
    """ASGI middleware. Answers 413 as a problem, below /v1/ in OpenAI's shape, and reads no further."""

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _stated_length(scope) > self.limit:
            await self._refuse(scope, send)
            return
        started = False
        received = 0

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise BodyTooLarge
            return message

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except BodyTooLarge:
            if not started:
                await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Any) -> None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        identifier = accepted_id(given)
        problem = {
            "type": "urn:magnet:problem:payload_too_large",
            "title": "Payload too large",
            "status": 413,
            "detail": f"The body is over the limit of {self.limit // 2**20} MB.",
            "instance": scope["path"],
            "code": "payload_too_large",
            "request_id": identifier,
        }
        form, body = "application/problem+json", problem
        if scope["path"].startswith("/v1/"):
            from doors.errors import error_of  # only after Django is set up

            form, body = "application/json", error_of(problem)
        headers = [
            (b"content-type", form.encode()),
            (b"connection", b"close"),
            (b"x-request-id", identifier.encode()),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _stated_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
