"""The OpenAPI description of /v1: as that of every view, but with errors in OpenAI's shape."""

from typing import Any, ClassVar

from core.api.schema import Described, MagnetSchema
from core.api.schema_parts import MEANINGS, headers_of_problem

ERROR: Described = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "request_id": {"type": "string"},
            },
        }
    },
}
EVENT: Described = {
    "type": "object",
    "description": "One event: OpenAI's JSON, or `[DONE]` at the end of a chat. Responses name theirs, chats do not.",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}


class DoorSchema(MagnetSchema):
    """Answers are JSON whatever is accepted, so there is no 406."""

    event: ClassVar[Described] = EVENT

    def _get_response_bodies(self, direction: Any = "response") -> Described:
        bodies = super()._get_response_bodies(direction)
        failed = {status: self._error(int(status)) for status in bodies if int(status) >= 400}
        return {**bodies, **failed}

    def problem_statuses(self) -> set[int]:
        return super().problem_statuses() - {406}

    def _error(self, status: int) -> Described:
        content = {"application/json": {"schema": ERROR}}
        return {"description": MEANINGS[status][2], "headers": headers_of_problem(status), "content": content}
