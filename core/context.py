"""What every log line and problem of one request carries."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings come by here, before Django can be imported
    from django.http import HttpRequest

current_request: ContextVar["HttpRequest | None"] = ContextVar("current_request", default=None)
request_id: ContextVar[str] = ContextVar("request_id", default="")
