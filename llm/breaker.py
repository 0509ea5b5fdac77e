"""A breaker for each model: after failures in a row it is not called for a while, then once, to see.

closed → open after FAILURES failures within WINDOW_SECONDS, none of them undone by a call that worked → half open after
OPEN_SECONDS: one call is let through as a probe → closed when it works, open again when it fails. The state belongs to
all processes and stands in Valkey; while that is away each process minds its own. Saving the model or its provider
begins anew, as the mistake may be mended.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.valkey import ValkeyAway, ask, sync_client
from llm.exceptions import BREAKER_OPEN, NotAsked
from llm.models import Model
from llm.retries import RETRYABLE
from plugins.contracts import ProviderFailure

FAILURES = 5
WINDOW_SECONDS = 60
OPEN_SECONDS = 30
# A probe whose process died, or whose caller left, holds the others up for so long.
PROBE_SECONDS = 30
KEPT_SECONDS = 600

COUNTED = RETRYABLE | {"unauthorized"}
"""Kinds of failures that say something about the vendor and not about the request."""

ADMIT = """
local state = redis.call('HMGET', KEYS[1], 'failures', 'until', 'probe')
if not state[1] then return {1, 0, 0} end
if not state[2] then return {1, tonumber(state[1]), 0} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local free = math.max(tonumber(state[2]), tonumber(state[3] or '0'))
if now < free then return {0, tonumber(state[1]), free - now} end
redis.call('HSET', KEYS[1], 'probe', now + ARGV[1])
return {1, tonumber(state[1]), 0}
"""
FAILED = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local state = redis.call('HMGET', KEYS[1], 'failures', 'since', 'until')
local failures, since = tonumber(state[1] or '0'), tonumber(state[2] or now)
if not state[3] and now - since > tonumber(ARGV[1]) then failures, since = 0, now end
failures = failures + 1
redis.call('HSET', KEYS[1], 'failures', failures, 'since', since, 'kind', ARGV[4])
if state[3] or failures >= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'until', now + ARGV[3])
  redis.call('HDEL', KEYS[1], 'probe')
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
"""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Standing:
    """What a breaker says. failures: since the last call that worked. kind: of the last one. seconds: until a probe."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    kind: str = ""
    seconds: float = 0


@dataclass
class _Own:
    """The state in this process, with the same fields as in Valkey; times in milliseconds of its clock."""

    failures: int = 0
    since: float = 0
    until: float = 0
    probe: float = 0
    kind: str = ""


_own: dict[str, _Own] = {}


@dataclass(frozen=True)
class Admission:
    """That a call may be sent. failures: how many the breaker knew of; without one, success has nothing to say."""

    model: Model
    failures: int


async def admit(model: Model) -> Admission:
    """Let a call through, or raise NotAsked(breaker_open) with the seconds until one is let through again."""
    key = _key(model)
    try:
        allowed, failures, wait = await ask(lambda client: client.eval(ADMIT, 1, key, PROBE_SECONDS * 1000))
    except ValkeyAway:
        allowed, failures, wait = _admit_here(key)
    if not allowed:
        message = "The model failed several times in a row and is left alone for a moment."
        raise NotAsked(BREAKER_OPEN, message, wait=wait / 1000)
    return Admission(model, failures)


async def failed(model: Model, failure: ProviderFailure) -> None:
    """Count a failure, where it is the vendor's."""
    if failure.kind not in COUNTED or isinstance(failure, NotAsked):
        return
    key, limits = _key(model), (WINDOW_SECONDS * 1000, FAILURES, OPEN_SECONDS * 1000)
    try:
        await ask(lambda client: client.eval(FAILED, 1, key, *limits, failure.kind, KEPT_SECONDS))
    except ValkeyAway:
        _fail_here(key, failure.kind)


async def worked(admission: Admission) -> None:
    """Close the breaker. Nothing is asked of Valkey when there was nothing to close."""
    if not admission.failures:
        return
    key = _key(admission.model)
    _own.pop(key, None)
    try:
        await ask(lambda client: client.delete(key))
    except ValkeyAway:
        return


def reset(model: Model) -> None:
    """Close the breaker by hand. Raises redis' errors when Valkey is away."""
    _own.pop(_key(model), None)
    sync_client().delete(_key(model))


def standings(models: Iterable[Model]) -> dict[Any, Standing]:
    """The breakers of these models by their ids, in one question; those of this process while Valkey is away."""
    from redis.exceptions import RedisError

    asked = list(models)
    try:
        pipeline = sync_client().pipeline(transaction=False)
        for model in asked:
            pipeline.hgetall(_key(model))
        now_s, now_us = sync_client().time()
        return {
            model.pk: _standing(_decoded(fields), now_s * 1000 + now_us / 1000)
            for model, fields in zip(asked, pipeline.execute(), strict=True)
        }
    except RedisError:
        return {model.pk: _standing(_own.get(_key(model), _Own()), _now()) for model in asked}


def _key(model: Model) -> str:
    return f"magnet:breaker:{model.pk}:{model.version}:{model.provider.version}"


def _decoded(fields: dict[bytes, bytes]) -> _Own:
    read: Callable[[bytes], float] = lambda name: float(fields.get(name, b"0"))  # noqa: E731  # three uses, one line
    return _Own(int(read(b"failures")), 0, read(b"until"), read(b"probe"), fields.get(b"kind", b"").decode())


def _standing(own: _Own, now: float) -> Standing:
    if not own.until:
        return Standing(failures=own.failures, kind=own.kind)
    wait = max(own.until, own.probe) - now
    state = BreakerState.OPEN if own.until > now else BreakerState.HALF_OPEN
    return Standing(state, own.failures, own.kind, max(0.0, round(wait / 1000, 1)))


def _now() -> float:
    return time.monotonic() * 1000


def _admit_here(key: str) -> tuple[bool, int, float]:
    own = _own.get(key)
    if own is None or not own.until:
        return True, own.failures if own else 0, 0
    now, free = _now(), max(own.until, own.probe)
    if now < free:
        return False, own.failures, free - now
    own.probe = now + PROBE_SECONDS * 1000
    return True, own.failures, 0


def _fail_here(key: str, kind: str) -> None:
    now = _now()
    own = _own.setdefault(key, _Own(since=now))
    if not own.until and now - own.since > WINDOW_SECONDS * 1000:
        own.failures, own.since = 0, now
    own.failures, own.kind = own.failures + 1, kind
    if own.until or own.failures >= FAILURES:
        own.until, own.probe = now + OPEN_SECONDS * 1000, 0
