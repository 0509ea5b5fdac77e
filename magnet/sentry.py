"""Errors to Sentry when SENTRY_DSN is set: which error, where, in which request; no texts, values or people."""

from typing import TYPE_CHECKING, Any

from django.conf import settings

from core.context import log_fields, request_id
from core.logging import without_values

if TYPE_CHECKING:
    from sentry_sdk.types import Event

KEPT_OF_REQUEST = ("method",)
IDS = frozenset({"request_id", "trace_id", "run_id", "job_id", "workspace"})


def start() -> None:
    """Set the SDK up, in every process; nothing is imported without a DSN."""
    if not settings.SENTRY_DSN:
        return
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.MAGNET_ENV,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=_scrubbed,
        server_name="magnet",
    )


def _scrubbed(event: "Event", _hint: dict[str, Any]) -> "Event":
    """The event with ids for looking things up here, and without what people wrote or sent."""
    request = event.get("request") or {}
    event["request"] = {name: request[name] for name in KEPT_OF_REQUEST if name in request}
    for name in ("extra", "user", "breadcrumbs", "modules"):
        event.pop(name, None)  # type: ignore[misc]  # the name is one of the event's
    ids = {"request_id": request_id.get(), **log_fields.get()}
    event["tags"] = {name: value for name, value in ids.items() if name in IDS and value}
    for error in (event.get("exception") or {}).get("values") or []:
        error["value"] = without_values(str(error.get("value") or ""))
    return event
