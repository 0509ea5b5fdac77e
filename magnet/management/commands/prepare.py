"""What every start does before the platform serves."""

import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from accounts.services import first_admin_ensure
from core.health import migrations_refusal
from magnet.embedded.data_dir import DataDir
from magnet.static_files import collect_when_changed


class Command(BaseCommand):
    help = (
        "Migrate (in production: refuse when migrations wait, and gather static files), create the first superuser "
        "from ADMIN_EMAIL and ADMIN_PASSWORD, and seed. `make run` calls it. Example: manage.py prepare"
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.MIGRATE_AT_START:
            call_command("migrate", interactive=False, verbosity=1, stdout=self.stdout)
        else:
            refusal = migrations_refusal()
            if refusal:
                sys.exit(refusal)
        collect_when_changed()
        self._first_user()
        call_command("seed", stdout=self.stdout)

    def _first_user(self) -> None:
        """The password comes from the setting, or from the file that `make run` shows once and deletes."""
        data_dir = DataDir(settings.DATA_DIR)
        generated = data_dir.secret("first_password")
        password = settings.ENV.secret("ADMIN_PASSWORD") or generated
        if password and first_admin_ensure(email=settings.ADMIN_EMAIL, password=password) and generated:
            (data_dir.run / "first_user").touch()
