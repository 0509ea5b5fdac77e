import json
import logging

import pytest

from core.context import add_log_fields, log_fields, logged_with, request_id
from core.logging import JsonFormatter


def line(message: str, *, error: BaseException | None = None, **extra: object) -> dict[str, object]:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("magnet.x", logging.ERROR, "f.py", 1, message, None, info)
    record.__dict__.update(extra)
    told: dict[str, object] = json.loads(JsonFormatter().format(record))
    return told


@pytest.fixture(autouse=True)
def _nothing_bound():
    token, request = log_fields.set({}), request_id.set("")
    yield
    log_fields.reset(token)
    request_id.reset(request)


def test_a_line_says_what_happened_and_to_what_it_belongs():
    request_id.set("r-1")
    with logged_with(job_id="j-1", workspace="w-1", trace_id=None):
        add_log_fields(run_id="run-1")
        told = line("job.attempt_failed", attempt=2)

    assert {name: told[name] for name in told if name != "time"} == {
        "level": "ERROR", "logger": "magnet.x", "event": "job.attempt_failed", "request_id": "r-1", "job_id": "j-1",
        "workspace": "w-1", "run_id": "run-1", "attempt": 2,
    }  # fmt: skip


def test_ids_end_with_the_work_they_belong_to():
    with logged_with(job_id="j-1"):
        pass

    assert "job_id" not in line("later")


def test_what_must_not_be_logged_is_left_out():
    told = line("x", api_key="sk-sentinel", messages=["sentinel"], request="sentinel", data={"args": "sentinel"})

    assert "sentinel" not in json.dumps(told)
    assert told["api_key"] == "[left out]"


def test_values_that_a_database_adds_to_its_errors_are_left_out():
    text = "null value in column\nDETAIL:  Failing row contains (sentinel).\nCONTEXT:  COPY x, line 1: sentinel"
    try:
        raise ValueError(text)
    except ValueError as error:
        told = line(text, error=error)

    assert "null value in column" in str(told["exc_info"])
    assert "sentinel" not in json.dumps(told)
