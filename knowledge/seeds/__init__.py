"""The knowledge source that a new platform comes with: the handbook of an invented company."""

import uuid
from pathlib import Path

from accounts.models import Workspace
from accounts.selectors import system_principal
from accounts.services import seed_once
from knowledge.models import KnowledgeSource
from knowledge.services import Upload, document_upload, source_create

HANDBOOK = "handbook"
FILES = Path(__file__).parent / HANDBOOK
DEFAULT_WORKSPACE = "default"


def seed_handbook() -> None:
    """The first workspace gets the source and its documents, once; the worker indexes them."""
    workspace = Workspace.objects.filter(slug=DEFAULT_WORKSPACE).first()
    if workspace is not None:
        seed_once(workspace.pk, f"knowledge.{HANDBOOK}", lambda: _create(workspace.pk))


def _create(workspace_id: uuid.UUID) -> None:
    if KnowledgeSource.objects.for_workspace(workspace_id).filter(slug=HANDBOOK).exists():
        return
    principal = system_principal(workspace_id)
    source = source_create(
        principal=principal,
        values={
            "name": "Handbook",
            "slug": HANDBOOK,
            "description": "The handbook of Lindenhof Instruments, an invented company, to try things with.",
        },
    )
    for path in sorted(FILES.iterdir()):
        with path.open("rb") as content:
            document_upload(principal=principal, source=source, upload=Upload(content, path.name))
