"""Models that fail in a row are left alone, then tried once."""

import asyncio

import pytest

from core.exceptions import ServiceUnavailable, UpstreamError
from llm import breaker
from llm.breaker import BreakerState, Standing
from llm.exceptions import NotAsked
from llm.tests.test_client_chat import said
from plugins.contracts import ProviderFailure

OVERLOADED = ProviderFailure("overloaded", "busy")


@pytest.fixture(params=["valkey", "memory"])
def store(request):
    if request.param == "memory":
        request.getfixturevalue("valkey_away")
    return request.param


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(breaker, "OPEN_SECONDS", 0.3)


@pytest.fixture
def failing(model_of, monkeypatch):
    """Without the pauses between retries: `failing("unauthorized")`."""
    monkeypatch.setattr("llm.retries.FIRST_PAUSE_SECONDS", 0.001)
    return model_of


def standing(model) -> Standing:
    return breaker.standings([model])[model.pk]


async def opened(model) -> None:
    for _ in range(breaker.FAILURES):
        await breaker.failed(model, OVERLOADED)


async def test_it_opens_after_failures_in_a_row(model_of, store):
    model = model_of("ok")
    for n in range(breaker.FAILURES):
        assert (await breaker.admit(model)).failures == n
        await breaker.failed(model, OVERLOADED)

    with pytest.raises(NotAsked) as refused:
        await breaker.admit(model)

    assert refused.value.kind == "breaker_open"
    assert 0 < refused.value.retry_after <= 0.3
    shown = await asyncio.to_thread(standing, model)
    assert (shown.state, shown.failures, shown.kind) == (BreakerState.OPEN, breaker.FAILURES, "overloaded")


async def test_one_probe_is_let_through_and_closes_it(model_of, store):
    model = model_of("ok")
    await opened(model)
    await asyncio.sleep(0.35)
    assert (await asyncio.to_thread(standing, model)).state is BreakerState.HALF_OPEN

    admissions = await asyncio.gather(*(breaker.admit(model) for _ in range(5)), return_exceptions=True)
    probes = [one for one in admissions if isinstance(one, breaker.Admission)]
    assert len(probes) == 1
    await breaker.worked(probes[0])

    assert await asyncio.to_thread(standing, model) == Standing()
    assert (await breaker.admit(model)).failures == 0


async def test_a_probe_that_fails_opens_it_again(model_of, store):
    model = model_of("ok")
    await opened(model)
    await asyncio.sleep(0.35)

    await breaker.admit(model)
    await breaker.failed(model, OVERLOADED)

    with pytest.raises(NotAsked):
        await breaker.admit(model)


async def test_failures_that_lie_far_apart_do_not_add_up(model_of, store, monkeypatch):
    monkeypatch.setattr(breaker, "WINDOW_SECONDS", 0.1)
    model = model_of("ok")
    for _ in range(breaker.FAILURES - 1):
        await breaker.failed(model, OVERLOADED)
    await asyncio.sleep(0.15)

    await breaker.failed(model, OVERLOADED)

    assert (await breaker.admit(model)).failures == 1


async def test_a_call_that_works_forgets_the_failures(model_of, store):
    model = model_of("ok")
    for _ in range(breaker.FAILURES - 1):
        await breaker.failed(model, OVERLOADED)

    await breaker.worked(await breaker.admit(model))
    await breaker.failed(model, OVERLOADED)

    assert (await breaker.admit(model)).failures == 1


@pytest.mark.parametrize("kind", ["bad_request", "server", "bad_response", "refused", "unsupported"])
async def test_what_is_no_outage_is_not_counted(model_of, kind):
    model = model_of("ok")

    for _ in range(breaker.FAILURES):
        await breaker.failed(model, ProviderFailure(kind, "x"))

    assert (await breaker.admit(model)).failures == 0


async def test_saving_the_model_or_its_provider_begins_anew(model_of):
    model = model_of("ok")
    await opened(model)

    model.provider.version += 1

    assert (await breaker.admit(model)).failures == 0


async def test_it_is_closed_by_hand(model_of):
    model = model_of("ok")
    await opened(model)

    await asyncio.to_thread(breaker.reset, model)

    assert (await breaker.admit(model)).failures == 0


# --- through the client


@pytest.mark.parametrize("identifier, calls", [("unauthorized", 5), ("rate-limited", 5), ("cut", 5), ("hang", 2)])
async def test_a_model_that_fails_is_not_called_any_more(failing, scripted, identifier, calls):
    """One that is tried again in a call fails several times in it."""
    model = failing(identifier, timeout_seconds=1)

    async def fail() -> None:
        try:
            await said(model)
        except (UpstreamError, ServiceUnavailable):
            return

    for _ in range(calls):
        await fail()
    before = len(scripted.calls)
    assert before >= breaker.FAILURES
    with pytest.raises(ServiceUnavailable, match="left alone for a moment") as refused:
        await said(model)

    assert refused.value.retry_after == 1
    assert len(scripted.calls) == before


async def test_it_closes_when_the_vendor_is_back(failing, scripted):
    model = failing("unavailable-five-times")
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            await said(model)
    assert len(scripted.calls) == 5
    await asyncio.sleep(0.35)

    await said(model)
    await said(model)

    assert len(scripted.calls) == 7


async def test_a_trial_is_sent_although_it_is_open_and_closes_it(failing, scripted):
    model = failing("ok")
    await opened(model)

    await said(model, alone=True)

    assert (await breaker.admit(model)).failures == 0
