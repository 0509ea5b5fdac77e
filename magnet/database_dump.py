"""The whole database as one file, by PostgreSQL's own programs, for upgrades of its major version.

Files and secrets stand beside the database in DATA_DIR and are not in it.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from magnet.embedded.postgres import postgres_binary

FORMAT = "--format=custom"
OPTIONS = "-c lock_timeout=10s -c client_min_messages=error"

DROP_ALL = """
SELECT string_agg(statement, '; ') FROM (
    SELECT format('DROP TABLE IF EXISTS %I.%I CASCADE', schemaname, tablename) AS statement
    FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
) AS owned
"""


class DumpFailed(Exception):
    """What the program of PostgreSQL says."""


def dump(target: Path) -> None:
    """Write the dump; nothing stays of one that failed. Raises DumpFailed."""
    draft = target.with_name(f"{target.name}.part")
    try:
        _run("pg_dump", FORMAT, "--no-owner", "--no-privileges", "--schema=public", f"--file={draft}")
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


def restore(source: Path) -> None:
    """Replace the tables of the database by those of the dump. Raises DumpFailed; the old tables stand again then."""
    with source.open("rb") as file:
        if file.read(5) != b"PGDMP":
            raise DumpFailed(f"{source} is no dump of dump_database.")
    statements = _run("pg_restore", "--no-owner", "--no-privileges", "--file=-", str(source), connect=False)
    with connection.cursor() as cursor:
        cursor.execute(DROP_ALL)
        drops = cursor.fetchone()[0] or ""
    script = f"{drops};\n{statements.replace('CREATE SCHEMA public;', '')}"
    _run("psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", given=script)


def _run(program: str, *arguments: str, connect: bool = True, given: str = "") -> str:
    database: Mapping[str, Any] = settings.DATABASES["default"]
    target = [f"--dbname={database['NAME']}"] if connect else []
    done = subprocess.run(
        [postgres_binary(program), *arguments, *target],
        input=given,
        capture_output=True,
        text=True,
        env={**_access(database), "LC_ALL": "C", "PGOPTIONS": OPTIONS},
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"{program} ended with {done.returncode}"]
        raise DumpFailed(lines[0].removeprefix("ERROR:").strip())
    return done.stdout


def _access(database: Mapping[str, Any]) -> dict[str, str]:
    """How libpq finds the server: in its environment, so that no command line shows the password."""
    options = database["OPTIONS"]
    access = {
        "PGHOST": database["HOST"],
        "PGPORT": database["PORT"],
        "PGUSER": database["USER"],
        "PGPASSWORD": database["PASSWORD"],
        "PGSSLMODE": options.get("sslmode", "prefer"),
    }
    return {name: str(value) for name, value in access.items() if value}
