"""Log lines."""

import json
import logging

from django.test import RequestFactory

from core.context import request_id
from core.logging import JsonFormatter


def line(message: str, **extra: object) -> dict[str, object]:
    record = logging.getLogger("somewhere").makeRecord(
        "somewhere", logging.WARNING, __file__, 1, message, (), None, extra=extra
    )
    parsed: dict[str, object] = json.loads(JsonFormatter().format(record))
    return parsed


def test_line_is_one_json_object_with_its_fields() -> None:
    entry = line("job.failed", job="7")

    assert {name: entry[name] for name in ("level", "logger", "message", "job")} == {
        "level": "WARNING",
        "logger": "somewhere",
        "message": "job.failed",
        "job": "7",
    }
    assert "time" in entry
    assert "request_id" not in entry


def test_line_carries_the_request_id() -> None:
    token = request_id.set("abc")
    try:
        assert line("x")["request_id"] == "abc"
    finally:
        request_id.reset(token)


def test_secrets_prompts_and_requests_are_left_out() -> None:
    entry = line("x", password="p", api_key="k", messages=["m"], request=RequestFactory().get("/"))

    assert (entry["password"], entry["api_key"], entry["messages"]) == ("[left out]",) * 3
    assert "request" not in entry
