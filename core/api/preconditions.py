"""ETag and If-Match: the version of a configurable row as an HTTP precondition (RFC 9110, RFC 6585)."""

from django.http import HttpRequest
from rest_framework.request import Request

from core.exceptions import MagnetError, StaleVersion
from core.models import VersionedModel


class PreconditionRequired(MagnetError):
    """A change did not say which version it is of."""

    code = "precondition_required"
    status = 428
    title = "Precondition required"


def etag(instance: VersionedModel) -> str:
    return f'"{instance.version}"'


def expected_version(request: HttpRequest | Request, instance: VersionedModel) -> int | None:
    """The version that If-Match names; None for `*`, which takes any.

    Raises PreconditionRequired without the header, StaleVersion when it names another version.
    """
    header = request.headers.get("If-Match")
    if header is None:
        raise PreconditionRequired(
            "Changing this needs the header If-Match.", hint="Send the ETag of your last GET, or * for any version."
        )
    if header.strip() == "*":
        return None
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    if etag(instance) not in tags:
        raise StaleVersion(
            f"This {instance._meta.verbose_name} is at version {instance.version}.",
            hint="Load it again and repeat your change.",
        )
    return instance.version
