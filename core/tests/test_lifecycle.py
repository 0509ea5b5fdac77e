"""What happens when the process ends."""

import asyncio

import pytest

from core import lifecycle


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_hooks", [])
    monkeypatch.setattr(lifecycle, "_shutdown", None)


async def test_hooks_run_once_the_last_registered_first() -> None:
    calls = []

    async def first() -> None:
        calls.append("first")

    async def second() -> None:
        calls.append("second")

    for hook in (first, second, first):
        lifecycle.on_shutdown(hook)
    assert not lifecycle.stopping()

    await asyncio.gather(lifecycle.shut_down(), lifecycle.shut_down())

    assert lifecycle.stopping()
    assert calls == ["second", "first"]


async def test_hook_that_fails_or_hangs_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "HOOK_SECONDS", 0.05)
    saved = []

    async def saves() -> None:
        saved.append(True)

    async def fails() -> None:
        raise ValueError

    async def hangs() -> None:
        await asyncio.sleep(60)

    for hook in (saves, fails, hangs):
        lifecycle.on_shutdown(hook)

    await lifecycle.shut_down()

    assert saved == [True]
    assert [record.message for record in caplog.records] == ["shutdown.hook_failed"] * 2
