"""`manage.py check_integrity`: whether rows and files fit together, a line for each thing that is wrong."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from core.integrity import INTEGRITY_CHECKS, wrongs


class Command(BaseCommand):
    help = (
        "Read all rows and files and say what does not fit together: documents and passages, jobs, runs, schedules, "
        "statistics, files, workspaces, secrets. Changes nothing, and may run while people work. "
        "Exit code 0: all is well; 1: a line for each thing that is wrong; 2: it could not be asked. "
        "Example: manage.py check_integrity --json"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="data and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = list(wrongs())
        except DatabaseError as error:
            raise CommandError("The database does not answer; check DATABASE_URL.", returncode=2) from error
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not found, "checks": INTEGRITY_CHECKS.names(), "wrong": found}))
        elif found:
            self.stdout.write("\n".join(found))
        else:
            self.stdout.write(f"All is well: {', '.join(INTEGRITY_CHECKS.names())}.")
        if found:
            sys.exit(1)
