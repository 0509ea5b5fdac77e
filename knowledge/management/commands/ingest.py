"""Bring files into a knowledge source: `manage.py ingest ~/documents --source handbook --wait`."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.selectors import principal_for_session, workspace_by_slug
from accounts.services import command_user
from core.access import Principal
from core.exceptions import MagnetError, NotFound
from knowledge.choices import DocumentStatus
from knowledge.models import Document, KnowledgeSource
from knowledge.services import Upload, document_upload

POLL_SECONDS = 0.5
STALLED_SECONDS = 120
OPEN = (DocumentStatus.PENDING, DocumentStatus.PROCESSING)


class Command(BaseCommand):
    help = "Bring files into a knowledge source. Example: manage.py ingest ~/documents --source handbook --wait"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", help="files, or folders that are read with all below them")
        parser.add_argument("--source", required=True, help="slug of the knowledge source")
        parser.add_argument("--workspace", default="default", help="slug of the workspace (default: default)")
        parser.add_argument("--user", help="e-mail of the user who uploads (default: the first superuser)")
        parser.add_argument("--wait", action="store_true", help="wait until every document is ready or failed")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        self.quiet = options["json"]
        try:
            principal, source = _source(options)
        except MagnetError as error:
            raise CommandError(str(error)) from error
        files = list(_files(options["paths"]))
        taken = [self._take(principal, source, path, name) for path, name in files]
        if options["wait"]:
            self._wait([one["document_id"] for one in taken if one["document_id"]], taken)
        self._report(taken)

    def _take(self, principal: Principal, source: KnowledgeSource, path: Path, name: str) -> dict[str, Any]:
        result: dict[str, Any] = {"file": str(path), "document_id": None, "status": "skipped", "reason": ""}
        try:
            with path.open("rb") as content:
                upload = Upload(content, path.name, external_id=name)
                document, job = document_upload(principal=principal, source=source, upload=upload)
        except (MagnetError, OSError) as error:
            result["reason"] = str(error)
        else:
            result.update(document_id=str(document.pk), status=document.status if job else "unchanged")
        if not self.quiet:
            self.stdout.write(f"{result['status']:>10}  {path}  {result['reason']}")
        return result

    def _wait(self, ids: list[str], taken: list[dict[str, Any]]) -> None:
        """Follow the documents to their ends; a queue that does not move for two minutes has no worker."""
        last, moved = -1, time.monotonic()
        while True:
            rows = {str(row.pk): row for row in Document._unscoped.filter(pk__in=ids)}
            left = sum(row.status in OPEN for row in rows.values())
            if left != last:
                last, moved = left, time.monotonic()
                self._progress(len(ids) - left, len(ids))
            if not left:
                break
            if time.monotonic() - moved > STALLED_SECONDS:
                raise CommandError(f"{left} documents wait and nothing moves: is a worker running? `make run` has one.")
            time.sleep(POLL_SECONDS)
        for one in taken:
            row = rows.get(one["document_id"] or "")
            if row is not None and one["status"] != "unchanged":
                one.update(status=row.status, reason=row.reason)

    def _progress(self, done: int, total: int) -> None:
        if not self.quiet and self.stdout.isatty():
            self.stdout.write(f"\r{done} of {total} documents done", ending="\n" if done == total else "")
            self.stdout.flush()

    def _report(self, taken: list[dict[str, Any]]) -> None:
        counts = {one["status"]: 0 for one in taken}
        for one in taken:
            counts[one["status"]] += 1
        if self.quiet:
            self.stdout.write(json.dumps({"documents": taken, "counts": counts}, indent=2))
        else:
            for one in taken:
                if one["status"] == DocumentStatus.FAILED:
                    self.stdout.write(self.style.ERROR(f"failed  {one['file']}: {one['reason']}"))
            self.stdout.write(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no files")
        if counts.get("failed") or not taken:
            raise CommandError("No file was found." if not taken else "Some documents failed; the reasons stand above.")


def _source(options: dict[str, Any]) -> tuple[Principal, KnowledgeSource]:
    workspace = workspace_by_slug(options["workspace"])
    principal = principal_for_session(command_user(options["user"], workspace), workspace.slug)
    source = KnowledgeSource.objects.for_workspace(workspace.pk).filter(slug=options["source"]).first()
    if source is None:
        raise NotFound(f"There is no knowledge source '{options['source']}' in the workspace '{workspace.slug}'.")
    return principal, source


def _files(paths: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Files with their names below the given path, which are their external ids."""
    for given in paths:
        root = Path(given).expanduser()
        if not root.exists():
            raise CommandError(f"There is no file or folder {given}.")
        if root.is_file():
            yield root, root.name
        else:
            for path in sorted(root.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    yield path, str(path.relative_to(root))
