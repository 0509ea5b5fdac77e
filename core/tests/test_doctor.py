"""What doctor finds, and what it says to do."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from core import doctor
from core.doctor import Finding, Level, examine

pytestmark = pytest.mark.django_db


def by_subject() -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine()}


def test_healthy_platform_has_versions_and_no_errors() -> None:
    findings = by_subject()

    assert {findings[name].level for name in ("PostgreSQL", "pgvector", "Valkey", "Migrations", "Files")} == {Level.OK}
    assert findings["PostgreSQL"].detail.startswith("18.")
    assert findings["pgvector"].detail.startswith("0.8.")


def test_waiting_migrations_name_the_command() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'accounts'")

    finding = by_subject()["Migrations"]

    assert (finding.level, finding.remedy) == (Level.ERROR, "Run manage.py migrate.")


@pytest.mark.django_db(transaction=True)
def test_database_that_is_down_names_the_setting_and_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", 1)

    findings = by_subject()
    connection.close()

    assert findings["PostgreSQL"].level is Level.ERROR
    assert "DATABASE_URL" in findings["PostgreSQL"].remedy
    assert findings["quotas"].detail == findings["schedules"].detail == "unknown while PostgreSQL does not answer"
    assert {findings[name].level for name in ("Valkey", "ENCRYPTION_KEYS", "Files")} == {Level.OK}


def test_broker_that_is_down_names_the_setting(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert "REDIS_URL" in by_subject()["Valkey"].remedy


def test_missing_keys_and_closed_storage_are_errors(settings: Any, tmp_path: Path) -> None:
    settings.ENCRYPTION_KEYS = []
    settings.STORAGE_DIR = tmp_path / "gone"

    findings = by_subject()

    assert findings["ENCRYPTION_KEYS"].detail == "there must be at least one key."
    assert "DATA_DIR" in findings["Files"].remedy


def test_old_version_is_an_error_with_its_remedy() -> None:
    finding = doctor._at_least("pgvector", "0.8.0", False, "Update.")

    assert finding.as_json() == {"subject": "pgvector", "level": "error", "detail": "0.8.0", "remedy": "Update."}
