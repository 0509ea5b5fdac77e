"""How much the documents of a workspace may take, and how much they do."""

import uuid
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q

from core.doctor import Finding, Level
from core.exceptions import MagnetError
from knowledge.models import StorageUse

FULL_SOON = 0.9


class QuotaExceeded(MagnetError):
    """The workspace holds as much as it may."""

    code = "quota_exceeded"
    status = 413
    title = "Quota exceeded"


def use_of(workspace_id: uuid.UUID) -> StorageUse:
    """What the workspace's documents take now."""
    use: StorageUse | None = StorageUse.objects.for_workspace(workspace_id).first()
    return use or StorageUse(workspace_id=workspace_id)


def require_quota(workspace_id: uuid.UUID, *, arriving: int = 0) -> None:
    """Raise QuotaExceeded when the workspace is over its quota, or would be with `arriving` documents of a byte each.

    Behind a document's save, in its transaction, the figures hold it already, and nobody else can change them.
    """
    use = use_of(workspace_id)
    if use.documents + arriving > settings.QUOTA_DOCUMENTS:
        held = f"The workspace may hold {settings.QUOTA_DOCUMENTS:,} documents (QUOTA_DOCUMENTS)."
        raise QuotaExceeded(held, hint="Delete some, or ask whoever runs Magnet for more.")
    if use.bytes + arriving > settings.QUOTA_STORAGE_BYTES:
        held = f"The files of the workspace may take {settings.QUOTA_STORAGE_BYTES >> 20:,} MB (QUOTA_STORAGE_MB)"
        raise QuotaExceeded(f"{held}; they would take more.", hint="Delete some, or ask whoever runs Magnet for more.")


def quota_findings() -> Iterator[Finding]:
    """For `manage.py doctor`: workspaces that are nearly full."""
    full = Q(documents__gte=FULL_SOON * settings.QUOTA_DOCUMENTS)
    full |= Q(bytes__gte=FULL_SOON * settings.QUOTA_STORAGE_BYTES)
    nearly = list(StorageUse._unscoped.filter(full).select_related("workspace"))
    for use in nearly:
        text = f"{use.documents:,} documents of {settings.QUOTA_DOCUMENTS:,}"
        text += f", {use.bytes >> 20:,} MB of {settings.QUOTA_STORAGE_BYTES >> 20:,}"
        remedy = "Raise QUOTA_DOCUMENTS or QUOTA_STORAGE_MB, or delete documents."
        yield Finding(f"quota of {use.workspace.slug}", Level.WARNING, text, remedy)
    if not nearly:
        yield Finding("quotas", Level.OK, "no workspace is nearly full")
