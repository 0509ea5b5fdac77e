"""The errors of Magnet: one base class, so that one handler serves every door."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with the input.

    pointer: JSON pointer into the body (`/messages/0/role`), or the name of a query parameter.
    """

    pointer: str
    code: str
    detail: str


class MagnetError(Exception):
    """An error that a person can read and act on.

    code: stable, snake_case, for programs. status: the HTTP status that a door answers with.
    hint: what to do next; shown to people after the detail. errors: the parts of the input that are wrong.
    Never put a secret or a provider's body into any of them: they are shown to callers.
    """

    code = "error"
    status = 500
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.errors = tuple(errors)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}".strip()


class InvalidInput(MagnetError):
    """The request is understood and wrong."""

    code = "invalid"
    status = 400
    title = "Invalid input"


class AuthenticationRequired(MagnetError):
    """No credentials, or none that count."""

    code = "not_authenticated"
    status = 401
    title = "Authentication required"


class PermissionRefused(MagnetError):
    """The caller is known and may not do this."""

    code = "permission_denied"
    status = 403
    title = "Permission denied"


class NotFound(MagnetError):
    """The object does not exist for this caller; objects of other workspaces never do."""

    code = "not_found"
    status = 404
    title = "Not found"


class Conflict(MagnetError):
    """The object's state does not allow this now."""

    code = "conflict"
    status = 409
    title = "Conflict"


class IllegalTransition(Conflict):
    """A state machine was asked for a move that its table does not hold."""

    code = "illegal_transition"


class StaleVersion(MagnetError):
    """Somebody else saved the object in between."""

    code = "stale_version"
    status = 412
    title = "Changed by somebody else"


class PayloadTooLarge(MagnetError):
    """The body or file is over its cap."""

    code = "payload_too_large"
    status = 413
    title = "Payload too large"


class UnsupportedMediaType(MagnetError):
    """No parser is registered for this type of file."""

    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"


class ServiceUnavailable(MagnetError):
    """A part that is needed is down; trying again later may help."""

    code = "unavailable"
    status = 503
    title = "Service unavailable"


class UpstreamError(MagnetError):
    """A model provider failed. The detail is ours; the provider's body is never passed on."""

    code = "upstream_error"
    status = 502
    title = "Model provider failed"
