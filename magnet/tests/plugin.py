"""Fixtures for all apps: the scripted provider, and rows that lead to it."""

from collections.abc import Iterator

import pytest

from magnet.tests.scripted_provider import ScriptedProvider


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def scripted(scripted_server: ScriptedProvider, settings) -> ScriptedProvider:
    """The scripted provider with an empty log, allowed as a destination."""
    scripted_server.reset()
    settings.OUTBOUND_ALLOW = scripted_server.allow
    return scripted_server


@pytest.fixture
def elsewhere(settings, scripted: ScriptedProvider) -> Iterator[ScriptedProvider]:
    """Another vendor at another address, which is allowed as well."""
    with ScriptedProvider("127.0.0.4") as server:
        settings.OUTBOUND_ALLOW = {"provider": frozenset({scripted.endpoint, server.endpoint})}
        yield server
