"""`/health/live` and `/health/ready`."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient, Client

from core import health, lifecycle

pytestmark = pytest.mark.django_db


def test_everything_there_is_ready(client: Client) -> None:
    answer = client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert set(answer.json()["parts"].values()) == {"ok"}
    assert {"database", "broker", "storage"} <= set(answer.json()["parts"])


def test_live_asks_nobody(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert client.get("/health/live").json() == {"status": "live"}


def test_broker_that_is_down_is_named(client: Client, settings: Any) -> None:
    down = {**settings.CACHES["default"], "LOCATION": "redis://:secret@127.0.0.1:1/0"}
    settings.CACHES = {"default": down}

    answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["parts"]["broker"] == "does not answer"
    assert answer.json()["parts"]["database"] == "ok"
    assert "secret" not in answer.content.decode()


def test_storage_that_cannot_be_written_is_named(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.STORAGE_DIR = tmp_path / "gone"

    assert client.get("/health/ready").json()["parts"]["storage"] == "cannot be written"


@pytest.mark.django_db(transaction=True)
def test_database_that_is_down_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", 1)

    answer = client.get("/health/ready")
    connection.close()

    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "does not answer"


def test_waiting_migrations_are_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'accounts'")

    assert client.get("/health/ready").json()["parts"]["database"] == "migrations are not applied"


async def test_process_that_stops_is_not_ready_and_still_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_hooks", [])
    monkeypatch.setattr(lifecycle, "_shutdown", None)
    await lifecycle.shut_down()

    ready = await AsyncClient().get("/health/ready")
    live = await AsyncClient().get("/health/live")

    assert (ready.status_code, ready.json()) == (503, {"status": "stopping", "parts": {}})
    assert live.status_code == 200
