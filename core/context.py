"""What every log line and problem of one request, job or run carries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings come by here, before Django can be imported
    from django.http import HttpRequest

current_request: ContextVar["HttpRequest | None"] = ContextVar("current_request", default=None)
request_id: ContextVar[str] = ContextVar("request_id", default="")
log_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  # replaced, never changed


def add_log_fields(**fields: object) -> None:
    """From here on, log lines of this request, job or run carry these ids, too."""
    log_fields.set({**log_fields.get(), **{name: str(value) for name, value in fields.items() if value}})


@contextmanager
def logged_with(**fields: object) -> Iterator[None]:
    """Log lines inside carry these ids, and no others."""
    token = log_fields.set({name: str(value) for name, value in fields.items() if value})
    try:
        yield
    finally:
        log_fields.reset(token)
