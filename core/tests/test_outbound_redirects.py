"""`Location` in every spelling, in every shape of client: a redirect leads nowhere that an address of ours may not."""

from collections.abc import Awaitable, Callable, Iterator

import httpcore2
import httpx
import httpx2
import pytest
import requests

from core.loop import run_in_loop
from core.outbound import OutboundRefused, OutboundUse, async_client, async_transport
from core.outbound_httpx import httpx_client
from core.outbound_requests import requests_session
from core.tests.listener import Listener, redirect, served
from core.tests.test_outbound_rules import ANSWERS, REFUSED_SPELLINGS, RecordingNetwork
from core.tests.test_outbound_rules import answer as names

USE = OutboundUse.CONNECTOR
# A control character ends the header, or the answer. What is left is tried without it.
IN_A_HEADER = [url for url in REFUSED_SPELLINGS if not {"\r", "\n", "\0"} & set(url) and len(url) < 8000]
NAMES = [f"https://{name}.test/" for name in ("private", "mixed", "mapped", "zone", "unknown")]
ERRORS = (OutboundRefused, httpx2.RequestError, httpx2.InvalidURL, httpx.RequestError, requests.RequestException)


class FirstThenRecorded(RecordingNetwork):
    """Connects to the first server, and only writes down all others."""

    def __init__(self, first: Listener) -> None:
        super().__init__()
        self._first = (first.host, first.port)

    async def connect_tcp(self, host, port, *arguments):
        if (host, port) == self._first:
            return await httpcore2.AnyIOBackend().connect_tcp(host, port, *arguments)
        return await super().connect_tcp(host, port, *arguments)


@pytest.fixture
def first() -> Iterator[Listener]:
    with served(Listener()) as listener:
        yield listener


@pytest.fixture
def network(first: Listener) -> FirstThenRecorded:
    return FirstThenRecorded(first)


@pytest.fixture
def checked(first: Listener, network: FirstThenRecorded) -> httpx2.AsyncClient:
    allow = {USE.value: frozenset({first.endpoint})}
    return async_client(USE, transport=async_transport(USE, allow=allow, resolver=names, network=network))


def awaited(get: Callable[[str], Awaitable[object]]) -> Callable[[str], object]:
    async def wait(url: str) -> object:
        return await get(url)

    return lambda url: run_in_loop(wait(url))


SHAPES = {
    "httpx2": lambda checked: awaited(checked.get),
    "httpx": lambda checked: awaited(httpx_client(USE, client=checked).get),
    "requests": lambda checked: requests_session(USE, client=checked).get,
}


@pytest.mark.parametrize("status", [302, 308])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_spelling_in_a_location_is_connected_to(shape, status, first, network, checked):
    get, followed = SHAPES[shape](checked), []
    for location in [*IN_A_HEADER, *NAMES]:
        first.answer = redirect(location, status)
        try:
            get(f"http://{first.endpoint}/start")
            followed.append(location)
        except ERRORS:
            pass

    assert followed == []
    # A header is stripped of the spaces around it, which leaves one public address.
    assert {address for address, _ in network.connected} <= set(ANSWERS["public.test"])
    assert len(first.requests) >= len(IN_A_HEADER)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_location_is_connected_to(shape, first, network, checked):
    """Else the recorder would be blind."""
    first.answer = redirect("https://public.test/next")

    with pytest.raises(ERRORS):
        SHAPES[shape](checked)(f"http://{first.endpoint}/start")

    assert {address for address, _ in network.connected} == set(ANSWERS["public.test"])
