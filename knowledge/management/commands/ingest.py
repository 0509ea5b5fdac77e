"""Bring files into a knowledge source: `manage.py ingest ~/documents --source handbook --wait`."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.selectors import principal_for_session, workspace_by_slug
from accounts.services import command_user
from core.access import Principal
from core.exceptions import Conflict, MagnetError, NotFound
from knowledge.choices import DocumentStatus
from knowledge.connectors import FILES, FilesConfig
from knowledge.forecasting import files_forecast, over_budget
from knowledge.models import Document, KnowledgeSource
from knowledge.schemas import storable
from knowledge.services import Upload, document_upload
from observability.selectors import last_heartbeat
from plugins.contracts import SourceItem
from plugins.registry import PLUGINS

POLL_SECONDS = 0.5
STALLED_SECONDS = 45  # three heartbeats
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
        self.brought: dict[str, Path] = {}
        try:
            principal, source = _source(options)
            items = PLUGINS.connectors.get(FILES).items(
                FilesConfig(tuple(Path(path).expanduser() for path in options["paths"]))
            )
        except MagnetError as error:
            raise CommandError(str(error)) from error
        self._foretell(source, items)
        taken = [self._take(principal, source, item) for item in items]
        if options["wait"]:
            self._wait(source, taken)
        self._report(taken)

    def _foretell(self, source: KnowledgeSource, items: Sequence[SourceItem]) -> None:
        """Say what a priced embedding model will cost, and take nothing that a budget has no room for."""
        known = set(source.documents.values_list("external_id", "size"))
        sizes = [(storable(item.external_id), item.path.stat().st_size) for item in items if item.path.is_file()]
        forecast = files_forecast(source, [size for name, size in sizes if (name, size) not in known])
        refusal = over_budget(forecast, source.workspace_id)
        if refusal:
            raise CommandError(f"{refusal} Nothing was ingested: take fewer files, or let an admin raise the budget.")
        if forecast.text and not self.quiet:
            self.stdout.write(forecast.text)

    def _take(self, principal: Principal, source: KnowledgeSource, item: SourceItem) -> dict[str, Any]:
        file = storable(str(item.path))
        result: dict[str, Any] = {"file": file, "document_id": None, "status": "skipped", "reason": ""}
        try:
            self._require_own_name(item)
            with item.path.open("rb") as content:
                upload = Upload(content, item.path.name, external_id=storable(item.external_id))
                document, job = document_upload(principal=principal, source=source, upload=upload)
        except (MagnetError, OSError) as error:
            result["reason"] = str(error)
        else:
            result.update(document_id=str(document.pk), status=document.status if job else "unchanged")
        if not self.quiet:
            self.stdout.write(f"{result['status']:>10}  {file}  {result['reason']}")
        return result

    def _require_own_name(self, item: SourceItem) -> None:
        """Raise Conflict for a second file of this call that would replace the first, under the same name."""
        first = self.brought.setdefault(item.external_id, item.path.resolve())
        if first != item.path.resolve():
            raise Conflict(
                f"It would replace {storable(str(first))}, which has the name '{storable(item.external_id)}' too.",
                hint="Name the folder above both, so that their places tell them apart.",
            )

    def _wait(self, source: KnowledgeSource, taken: list[dict[str, Any]]) -> None:
        """Follow the documents to their ends; when nothing moves and no worker's heart beats, there is no worker."""
        ids = [one["document_id"] for one in taken if one["document_id"]]
        last, moved = None, time.monotonic()
        while True:
            rows = {str(row.pk): row for row in Document.objects.for_workspace(source.workspace_id).filter(pk__in=ids)}
            left = sum(row.status in OPEN for row in rows.values())
            state = (left, last_heartbeat())
            if state != last:
                last, moved = state, time.monotonic()
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
