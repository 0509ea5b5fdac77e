"""Prices and facts of known models: `manage.py catalogue`, `manage.py catalogue --refresh prices.toml --dry-run`."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.exceptions import MagnetError
from llm.catalogue import Catalogue, read_catalogue, shipped_catalogue
from llm.price_services import Change, prices_refresh


class Command(BaseCommand):
    help = (
        "Show the catalogue of known models, or bring newer prices from a file to the models that are configured. "
        "Example: manage.py catalogue --refresh prices.toml --dry-run"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--refresh",
            metavar="FILE",
            help="a TOML or JSON file of the form of llm/catalogue.toml: adds dated prices in every workspace; "
            "prices that people entered are left as they are",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="with --refresh: say what would change, change nothing"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"] and not options["refresh"]:
            raise CommandError("--dry-run goes with --refresh FILE.")
        try:
            if options["refresh"]:
                self._refresh(read_catalogue(Path(options["refresh"]).expanduser()), options)
            else:
                self._show(shipped_catalogue(), as_json=options["json"])
        except MagnetError as error:
            raise CommandError(str(error)) from error

    def _show(self, catalogue: Catalogue, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(catalogue.model_dump_json(indent=2, exclude_none=True))
            return
        self.stdout.write(f"Prices of 1,000,000 tokens as of {catalogue.as_of}. {catalogue.source}.")
        for name, known in sorted(catalogue.models.items()):
            price = known.price
            text = "no price" if price is None else f"{price.input:f} in, {price.output:f} out {price.currency}"
            self.stdout.write(f"{name:32} {known.kind.value:10} {text}")

    def _refresh(self, catalogue: Catalogue, options: dict[str, Any]) -> None:
        changes = prices_refresh(catalogue, dry_run=options["dry_run"])
        counts = {state: sum(one.state == state for one in changes) for state in ("added", "same", "older", "kept")}
        if options["json"]:
            told = {"as_of": str(catalogue.as_of), "dry_run": options["dry_run"], "counts": counts}
            self.stdout.write(json.dumps({**told, "models": [one.as_json() for one in changes]}, indent=2))
            return
        for one in changes:
            self.stdout.write(_line(one, dry_run=options["dry_run"]))
        self.stdout.write(", ".join(f"{count} {state}" for state, count in counts.items()))


def _line(change: Change, *, dry_run: bool) -> str:
    words = {
        "added": "would get a new price" if dry_run else "has a new price",
        "same": "has this price already",
        "older": "has a newer price already",
        "kept": "keeps the price that was entered here",
    }
    return f"{change.workspace}/{change.model} ({change.identifier}) {words[change.state]}"
