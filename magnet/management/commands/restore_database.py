"""Replace the database by a dump."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from magnet.database_dump import DumpFailed, restore


class Command(BaseCommand):
    help = (
        "Replace the database by a dump of dump_database. Stop the platform first. "
        "Example: manage.py restore_database magnet.dump --yes"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["yes"] and input("This replaces all tables of the database. Go on? [y/N] ").lower() != "y":
            raise CommandError("Nothing was changed.")
        try:
            restore(options["file"])
        except (DumpFailed, OSError) as error:
            raise CommandError(f"{error} The database is as it was. Does the platform still run? Stop it.") from error
        self.stdout.write("Restored. `make run` migrates it to this release.")
