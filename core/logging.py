"""Log lines as JSON: one object a line, with the ids of what it belongs to, and without what must not be logged."""

import logging
import re
from typing import Any

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

from core.context import log_fields, request_id

# Fields that never belong into a log, whoever passes them as `extra`.
SECRET_FIELDS = frozenset(
    {"authorization", "cookie", "password", "secret", "token", "api_key", "credentials", "prompt", "messages"}
)
# What libraries attach: Django the whole request, uvicorn colours, Celery the arguments of the task.
NOISE = ("request", "color_message", "data", "context")
# PostgreSQL tells the values of the row that it refused.
DATABASE_DETAIL = re.compile(r"^.*\b(?:DETAIL|CONTEXT|QUERY|STATEMENT): .*$\n?", re.MULTILINE)


class JsonFormatter(BaseFormatter):
    """`{"time", "level", "logger", "event", "request_id", "workspace", "job_id", "run_id", "trace_id", …extra}`.

    `event` is what happened, such as `job.attempt_failed`, or the text of a library's line.
    """

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "message": "event"},
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        identifier = request_id.get()
        if identifier:
            log_data["request_id"] = identifier
        for name, value in log_fields.get().items():
            log_data.setdefault(name, value)
        for name in NOISE:
            log_data.pop(name, None)
        for name in SECRET_FIELDS & log_data.keys():
            log_data[name] = "[left out]"
        log_data["event"] = without_values(str(log_data.get("event", "")))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        return without_values(str(super().formatException(ei)))


def without_values(text: str) -> str:
    """The text of an error without the values of rows that a database adds to it."""
    return DATABASE_DETAIL.sub("", text).rstrip()
