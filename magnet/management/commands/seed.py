"""Create what a new platform comes with."""

from typing import Any

from django.core.management.base import BaseCommand

from core.seeds import SEEDS


class Command(BaseCommand):
    help = "Create the seeds that are missing. Safe to repeat. Example: manage.py seed"

    def handle(self, *args: Any, **options: Any) -> None:
        for name, seed in SEEDS.items():
            seed()
            self.stdout.write(f"{name}: done")
