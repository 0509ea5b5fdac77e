"""Print a link with which somebody sets a new password: `manage.py reset_password anna@example.org`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.passwords import reset_link
from core.exceptions import MagnetError


class Command(BaseCommand):
    help = (
        "Print a link with which a person sets a new password; it works once, for an hour. "
        "Example: manage.py reset_password anna@example.org"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the person's e-mail address")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no user '{options['email']}'.")
        try:
            self.stdout.write(reset_link(user))
        except MagnetError as error:
            raise CommandError(str(error)) from error
