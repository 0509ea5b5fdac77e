"""Write the database into a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from magnet.database_dump import DumpFailed, dump


class Command(BaseCommand):
    help = (
        "Write the whole database into one file, for an upgrade of PostgreSQL. Files and secrets stay in DATA_DIR. "
        "Example: manage.py dump_database magnet.dump"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        target: Path = options["file"]
        if target.exists():
            raise CommandError(f"{target} exists; name another file.")
        try:
            dump(target)
        except (DumpFailed, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{target}: {target.stat().st_size / 2**20:.1f} MB")
