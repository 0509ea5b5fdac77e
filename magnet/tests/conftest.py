"""Two workspaces with a row of each kind, for tests of the whole."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from magnet.tests.admin_world import World, world


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Browser tests run where Chromium is installed; `make test-all` demands it."""
    if shutil.which("chromium"):
        return
    if os.environ.get("MAGNET_BROWSER_TESTS"):
        raise pytest.UsageError("The browser tests need Chromium (Debian, Ubuntu: apt install chromium).")
    left = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="module")
def worlds(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[World, World]]:
    """Built once a module, as each takes hundreds of statements; every test's own changes are rolled back."""
    with django_db_blocker.unblock():
        yield world("north"), world("southern")
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE accounts_workspace, accounts_user CASCADE")


@pytest.fixture
def north(worlds: tuple[World, World], db: None) -> World:
    return worlds[0]


@pytest.fixture
def south(worlds: tuple[World, World], db: None) -> World:
    return worlds[1]
