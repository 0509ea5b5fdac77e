"""When a worker process gives its memory back."""

from magnet.idle_release import IDLE_SECONDS, LARGE_BYTES, IdleRelease

LARGE = LARGE_BYTES + 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_large_process_ends_a_minute_after_its_last_work() -> None:
    clock = Clock()
    release = IdleRelease(clock)
    release.begin("ingest")
    clock.now += 500
    release.end("ingest")

    clock.now += IDLE_SECONDS - 1
    assert not release.is_due(LARGE)
    clock.now += 2
    assert release.is_due(LARGE)


def test_the_tick_does_not_keep_it_alive() -> None:
    clock = Clock()
    release = IdleRelease(clock, last_work=clock.now)

    clock.now += IDLE_SECONDS + 1
    release.begin("default")
    assert not release.is_due(LARGE)
    release.end("default")

    assert release.is_due(LARGE)


def test_small_process_stays() -> None:
    clock = Clock()
    release = IdleRelease(clock)

    assert not release.is_due(LARGE_BYTES)


def test_running_work_is_never_cut() -> None:
    clock = Clock()
    release = IdleRelease(clock)
    release.begin("ingest")

    clock.now += 10 * IDLE_SECONDS

    assert not release.is_due(LARGE)
