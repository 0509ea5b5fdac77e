"""`manage.py rotate_encryption_keys`: after a new first key in ENCRYPTION_KEYS, before the old one is dropped."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.rotation import rotate_secrets


class Command(BaseCommand):
    help = "Encrypt every stored secret again under the first key of ENCRYPTION_KEYS."

    def handle(self, *_: Any, **__: Any) -> None:
        report = rotate_secrets()
        self.stdout.write(f"{report.rotated} secrets encrypted again, {report.current} were current.")
        if report.unreadable:
            lines = "\n".join(report.unreadable)
            raise CommandError(f"No key in ENCRYPTION_KEYS opens these; enter them again:\n{lines}")
        self.stdout.write("Older keys can be dropped from ENCRYPTION_KEYS.")
