"""Two workspaces with a row of each kind, for tests of the whole."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from magnet.embedded.server import free_port
from magnet.tests.admin_world import World, world
from magnet.tests.committed import remove_rows
from magnet.tests.platform import Platform
from magnet.tests.scripted_vendors import VendorServer, seen_in_a_browser


@pytest.fixture(scope="module")
def worlds(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[World, World]]:
    """Built once a module, as each takes hundreds of statements; every test's own changes are rolled back."""
    with django_db_blocker.unblock():
        yield world("north"), world("southern")
        remove_rows()


@pytest.fixture
def north(worlds: tuple[World, World], db: None) -> World:
    return worlds[0]


@pytest.fixture
def south(worlds: tuple[World, World], db: None) -> World:
    return worlds[1]


@pytest.fixture(scope="session")
def spa_port() -> int:
    """Where the sample application is served; the platform lists its origin."""
    return free_port()


@pytest.fixture(scope="session")
def outside() -> Iterator[VendorServer]:
    """A vendor that the platform of the browser tests may call."""
    with VendorServer(seen_in_a_browser) as server:
        yield server


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, spa_port: int, outside: VendorServer) -> Iterator[str]:
    """The address of a whole platform, for what people do in a browser."""
    from magnet.tests.browser import PASSWORD

    origin = f"http://localhost:{spa_port}"
    folder = tmp_path_factory.mktemp("browser")
    allow = f"provider={outside.endpoint}"
    started = Platform(folder, ADMIN_PASSWORD=PASSWORD, CORS_ALLOWED_ORIGINS=origin, OUTBOUND_ALLOW=allow)
    started.start_and_wait()
    yield f"http://localhost:{started.port}"
    started.terminate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """For one module, as a loop runs in the thread while it lives, and Django refuses a database there."""
    from playwright.sync_api import sync_playwright

    from magnet.tests.browser import FLAGS

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
