"""What every log line and problem of one request carries."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
