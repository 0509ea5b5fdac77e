#!/usr/bin/env python
"""Django's commands, on the platform's own database: it is found in DATA_DIR and started when it is stopped."""

import os
import sys

from magnet.embedded.errors import PlatformError
from magnet.embedded.platform import embedded_servers
from magnet.environment import SettingError

# These work without a database, so none is started for them.
WITHOUT_DATABASE = frozenset({"help", "version", "--help", "-h", "--version", "spectacular", "collectstatic"})


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
    from django.core.management import execute_from_command_line

    if len(sys.argv) < 2 or sys.argv[1] in WITHOUT_DATABASE or not {"--help", "-h"}.isdisjoint(sys.argv):
        execute_from_command_line(sys.argv)
        return
    try:
        with embedded_servers():
            execute_from_command_line(sys.argv)
    except (PlatformError, SettingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
