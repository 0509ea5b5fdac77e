"""Log lines as JSON: one object a line, with the request's id, and without what must not be logged."""

import logging
from typing import Any

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

from core.context import request_id

# Fields that never belong into a log, whoever passes them as `extra`.
SECRET_FIELDS = frozenset(
    {"authorization", "cookie", "password", "secret", "token", "api_key", "credentials", "prompt", "messages"}
)


class JsonFormatter(BaseFormatter):
    """`{"time", "level", "logger", "message", "request_id", …extra}`."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        identifier = request_id.get()
        if identifier:
            log_data["request_id"] = identifier
        log_data.pop("request", None)  # Django attaches the whole request, cookies and all
        for name in SECRET_FIELDS & log_data.keys():
            log_data[name] = "[left out]"
