"""Create an API key and print it: `manage.py create_api_key ci --scopes read run --expires 30d`."""

import re
from argparse import RawDescriptionHelpFormatter
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.selectors import workspace_by_slug
from accounts.services import api_key_issue, command_user
from core.access import Scope
from core.exceptions import MagnetError

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def expiry(text: str) -> datetime:
    """`30d`, `12h`, `15m` or `2w` from now."""
    match = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if match is None:
        raise CommandError(f"--expires {text!r}: give a number and m, h, d or w, such as 30d.")
    return timezone.now() + int(match[1]) * UNITS[match[2]]


class Command(BaseCommand):
    help = "Create an API key and print it, alone, once.\n\nExample:\n  manage.py create_api_key ci --expires 30d"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what will use the key; names may repeat")
        parser.add_argument("--workspace", default="default", help="slug of the workspace (default: default)")
        parser.add_argument("--user", help="e-mail of its user (default: the first superuser)")
        parser.add_argument("--scopes", nargs="+", choices=Scope.values, default=Scope.values, help="default: all")
        parser.add_argument("--expires", help="such as 30d, 12h, 15m or 2w (default: never)")

    def handle(self, *args: Any, **options: Any) -> None:
        expires_at = expiry(options["expires"]) if options["expires"] else None
        try:
            workspace = workspace_by_slug(options["workspace"])
            issued = api_key_issue(
                user=command_user(options["user"], workspace),
                workspace=workspace,
                name=options["name"],
                scopes=[Scope(scope) for scope in options["scopes"]],
                expires_at=expires_at,
            )
        except MagnetError as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(issued.text)
