"""Measure how well the platform finds: `manage.py benchmark retrieval --beir ~/scifact --json`."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.exceptions import MagnetError
from knowledge.benchmarking import read_collection, retrieval


class Command(BaseCommand):
    help = "Measure on this machine. Example: manage.py benchmark retrieval --beir ~/scifact"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["retrieval"], help="retrieval: nDCG@10 and recall@100 of the search")
        parser.add_argument("--beir", required=True, type=Path, metavar="DIR", help="a test collection in BEIR's form")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        quiet = options["json"]

        def say(text: str) -> None:
            if not quiet:
                self.stdout.write(text)

        try:
            result = retrieval(read_collection(options["beir"].expanduser()), say)
        except MagnetError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result, indent=2))
