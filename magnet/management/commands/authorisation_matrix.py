"""Write docs/authorisation.md, the table of who may call what: `manage.py authorisation_matrix`."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from magnet.authorisation import document


class Command(BaseCommand):
    help = "Write docs/authorisation.md from the routes and their permissions. Example: manage.py authorisation_matrix"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "authorisation.md"
        if not options["check"]:
            path.write_text(document())
            self.stdout.write(f"Wrote {path}.")
        elif not path.exists() or path.read_text() != document():
            raise CommandError(
                "docs/authorisation.md is out of date: run manage.py authorisation_matrix and read the diff."
            )
