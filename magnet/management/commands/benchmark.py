"""Measure on this machine: `manage.py benchmark retrieval --beir ~/scifact`, `manage.py benchmark stream --json`."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.exceptions import MagnetError
from knowledge.benchmarking import read_collection, retrieval
from magnet.benchmarks.stream import Size, stream


class Command(BaseCommand):
    help = (
        "Measure on this machine, in a workspace of its own that is removed after. "
        "Example: manage.py benchmark retrieval --beir ~/scifact, manage.py benchmark stream --streams 300"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "what",
            choices=["retrieval", "stream"],
            help="retrieval: nDCG@10 and recall@100 of the search; stream: time to first token, gaps, throughput and "
            "CPU of /v1 and of the RAG query, beside the same scripted vendor called directly",
        )
        parser.add_argument("--beir", type=Path, metavar="DIR", help="retrieval: a test collection in BEIR's form")
        usual = Size()
        parser.add_argument(
            "--requests",
            type=_positive,
            default=usual.requests,
            help="stream: requests of each way at each concurrency (200)",
        )
        parser.add_argument(
            "--concurrency",
            type=_positive,
            nargs="+",
            default=list(usual.concurrencies),
            help="stream: how many at once (1 16 60)",
        )
        parser.add_argument(
            "--streams",
            type=_positive,
            default=0,
            help="stream: also hold so many streams open at once, with a word each 20 ms",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        quiet = options["json"]

        def say(text: str) -> None:
            if not quiet:
                self.stdout.write(text)

        try:
            if options["what"] == "stream":
                size = Size(options["requests"], tuple(options["concurrency"]), options["streams"])
                result = stream(size, say)
            elif options["beir"] is None:
                raise CommandError("benchmark retrieval needs --beir DIR, a test collection in BEIR's form.")
            else:
                result = retrieval(read_collection(options["beir"].expanduser()), say)
        except MagnetError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result, indent=2))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
