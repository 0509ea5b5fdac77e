"""Lift a lock: `manage.py unlock anna@example.org`, or the id of an API key, `manage.py unlock mk_abc123…`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.lockout import lift_locks
from accounts.models import FailedTries


class Command(BaseCommand):
    help = "Lift the lock after wrong tries of a password or an API key. Example: manage.py unlock anna@example.org"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", help="an e-mail address, or the beginning of an API key (mk_ and its id)")

    def handle(self, *args: Any, **options: Any) -> None:
        subject: str = options["subject"]
        if subject.startswith("mk_"):
            locked = lift_locks(FailedTries.Kind.API_KEY, subject.split("_")[1])
        else:
            locked = sum(lift_locks(kind, subject) for kind in (FailedTries.Kind.LOGIN, FailedTries.Kind.RESET))
        self.stdout.write(f"Lifted: {locked} locked address(es)." if locked else "Nothing was locked.")
