"""Two workspaces with a row of each kind, for tests of the whole."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from magnet.tests.admin_world import World, world


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
