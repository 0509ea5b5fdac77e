"""How much a stream costs on its way through Magnet: against the same vendor called directly, in the same run.

Times of two days or two machines say nothing; ratios and added milliseconds of one run do. Client, vendor and web
process share the machine, so what is measured is an upper bound.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from magnet.benchmarks.listening import Call, Heard, hear
from magnet.benchmarks.processes import Serving, vendor, web
from magnet.benchmarks.rows import PROMPT, QUESTION, RAG, rows
from magnet.benchmarks.vendor import Speech

QUICK = Speech(words=20, first_ms=3, gap_ms=1)
GAP_MS = 20
STARTS_PER_SECOND = 40
STEADY_SECONDS = 5.0
WARM_UP = 10
ROUNDS = 4
"""The ways take turns, so that what else the machine does meets all of them."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """What is asked for. requests: of each way at each concurrency; streams: open at once with a word each 20 ms."""

    requests: int = 200
    concurrencies: tuple[int, ...] = (1, 16, 60)
    streams: int = 0

    @property
    def long(self) -> Speech:
        """Words for as long as it takes to open all streams, and to listen to all of them for a while."""
        seconds = self.streams / STARTS_PER_SECOND + STEADY_SECONDS + 1
        return Speech(words=round(seconds * 1000 / GAP_MS), first_ms=GAP_MS, gap_ms=GAP_MS)


@dataclass(frozen=True)
class Way:
    """A way to the vendor. web: the process that it costs, None for the direct way."""

    name: str
    call: Call
    web: Serving | None

    def cpu_seconds(self) -> float:
        return 0.0 if self.web is None else self.web.cpu_seconds()


def stream(size: Size, say: Say) -> dict[str, Any]:
    """Measure, and remove everything again. Raises ServiceUnavailable when a process does not start."""
    with (
        vendor() as source,
        rows(f"http://127.0.0.1:{source.port}/v1", QUICK, size.long) as made,
        web(source.port) as us,
    ):
        return asyncio.run(_measure(source, us, made.key, size, say))


async def _measure(source: Serving, us: Serving, key: str, size: Size, say: Say) -> dict[str, Any]:
    ways = _ways(source, us, key)
    for way in ways:
        for _ in range(WARM_UP):
            await hear(way.call)
    told: dict[str, Any] = {
        "requests": size.requests,
        "vendor": {"words": QUICK.words, "first_ms": QUICK.first_ms, "gap_ms": QUICK.gap_ms},
        "concurrency": {},
    }
    for concurrency in size.concurrencies:
        told["concurrency"][str(concurrency)] = await _compare(ways, concurrency, size.requests, say)
    if size.streams:
        told["open_streams"] = {"streams": size.streams, "word_every_ms": GAP_MS}
        for name, where, headers in (("direct", source, {}), ("v1_model", us, _authorised(key))):
            way = Way(name, _chat(where.port, size.long.model, headers), us if where is us else None)
            told["open_streams"][name] = found = await _hold_open(way, size)
            say(f"{size.streams} streams, {name}: {found}")
    return told


def _authorised(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _chat(port: int, model: str, headers: Mapping[str, str], **more: Any) -> Call:
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": True, **more}
    return Call(port, "/v1/chat/completions", headers, body)


def _ways(source: Serving, us: Serving, key: str) -> list[Way]:
    headers = _authorised(key)
    query = Call(us.port, f"/api/v1/rag-tools/{RAG}/query", headers, {"question": QUESTION, "stream": True})
    return [
        Way("direct", _chat(source.port, QUICK.model, {}), None),
        Way("v1_model", _chat(us.port, QUICK.model, headers), us),
        Way("v1_prompt", _chat(us.port, PROMPT, headers, metadata={"text": QUESTION}), us),
        Way("rest_rag", query, us),
    ]


async def _compare(ways: Sequence[Way], concurrency: int, requests: int, say: Say) -> dict[str, Any]:
    """So many requests of each way, so many at once, in turns."""
    heard: dict[str, list[Heard]] = {way.name: [] for way in ways}
    seconds, cpu = dict.fromkeys(heard, 0.0), dict.fromkeys(heard, 0.0)
    for number in range(ROUNDS):
        share = requests * (number + 1) // ROUNDS - requests * number // ROUNDS
        for way in ways:
            began, used = time.perf_counter(), way.cpu_seconds()
            heard[way.name] += await _together(way.call, share, concurrency)
            seconds[way.name] += time.perf_counter() - began
            cpu[way.name] += way.cpu_seconds() - used
    told: dict[str, Any] = {}
    for name, found in heard.items():
        told[name] = {**_times(found), "requests_per_second": round(len(found) / seconds[name], 1)}
        if name != "direct":
            told[name] |= _beside(told["direct"], told[name])
            told[name]["web_cpu_ms_per_request"] = round(cpu[name] * 1000 / len(found), 2)
        say(f"c={concurrency}, {name}: {told[name]}")
    return told


async def _together(call: Call, requests: int, concurrency: int) -> list[Heard]:
    left = iter(range(requests))

    async def one_after_another() -> list[Heard]:
        return [await hear(call) for _ in left]

    found = await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
    return [one for some in found for one in some]


def _times(found: Sequence[Heard]) -> dict[str, float]:
    gaps = [gap for one in found for gap in one.gaps_ms]
    return {
        "first_ms_p50": round(median(one.first_ms for one in found), 1),
        "first_ms_p99": percentile_99([one.first_ms for one in found]),
        "whole_ms_p50": round(median(one.whole_ms for one in found), 1),
        "gap_ms_p99": percentile_99(gaps) if gaps else 0.0,
    }


def percentile_99(values: Sequence[float]) -> float:
    """Of one value, that value."""
    return round(quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0], 1)


def _beside(direct: Mapping[str, float], ours: Mapping[str, float]) -> dict[str, float]:
    """What Magnet adds to the vendor alone, and how many times as long, or as often, it is."""
    return {
        "added_first_ms_p50": round(ours["first_ms_p50"] - direct["first_ms_p50"], 1),
        "added_first_ms_p99": round(ours["first_ms_p99"] - direct["first_ms_p99"], 1),
        "first_ratio_p50": round(ours["first_ms_p50"] / direct["first_ms_p50"], 2),
        "throughput_ratio": round(ours["requests_per_second"] / direct["requests_per_second"], 3),
    }


async def _hold_open(way: Way, size: Size) -> dict[str, float]:
    """Open streams one after another, and look closely while all of them are open."""
    asked = way.call.bytes()
    heard = [Heard(asked) for _ in range(size.streams)]
    async with asyncio.TaskGroup() as group:
        for one in heard:
            group.create_task(hear(way.call, one))
            await asyncio.sleep(1 / STARTS_PER_SECOND)
        began, used, before = time.perf_counter(), way.cpu_seconds(), sum(one.words for one in heard)
        await asyncio.sleep(STEADY_SECONDS)
        seconds, used = time.perf_counter() - began, way.cpu_seconds() - used
        words = sum(one.words for one in heard) - before
    told = {**_times(heard), "events_per_second": round(words / seconds)}
    return told if way.web is None else {**told, "web_cpu_us_per_word": round(used * 1e6 / words, 1)}
