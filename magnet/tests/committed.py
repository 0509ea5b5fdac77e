"""Rows that a module commits for all its tests, and takes away again."""

from django.db import connection

# All others refer to one of these.
TABLES = (
    "accounts_workspace", "accounts_user", "accounts_auditevent", "accounts_failedtries", "core_requestcount",
    "core_storedanswer", "django_session", "llm_callcount",
)  # fmt: skip


def remove_rows() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
