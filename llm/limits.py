"""How many requests and tokens a model takes in a minute, counted for all processes together.

Counts stand in slots of a second, and a call fits when those of the last 60 s and its own keep to the limit: in any
60 s there are never more. They are kept in Valkey, each step one Lua script; while it is away in PostgreSQL, under a
lock for each model. When the counting moves it begins anew there: never without a limit, at most with a second one.

Tokens are reserved before a call, input and as much output as it may have or is left, and corrected after it.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import DatabaseError, transaction
from django.db import connection as database

from core.database import in_database
from core.valkey import ValkeyAway, ask
from llm.exceptions import LIMIT, TOO_LARGE, NotAsked
from llm.models import Model
from llm.retries import Deadline

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
LONGEST_WAIT_SECONDS = 20.0
POLL_SECONDS = 1.0
USUAL_OUTPUT_TOKENS = 4096
"""Reserved for an answer whose length nobody bounds."""

RESERVE = """
local now = redis.call('TIME')
local second, at = tonumber(now[1]), tonumber(now[1]) + tonumber(now[2]) / 1e6
local rpm, tpm, input, output = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local all, slots, requests, tokens = redis.call('HGETALL', KEYS[1]), {}, 0, 0
for i = 1, #all, 2 do
  local kind, slot, count = string.sub(all[i], 1, 1), tonumber(string.sub(all[i], 2)), tonumber(all[i + 1])
  if slot < second - 60 then
    redis.call('HDEL', KEYS[1], all[i])
  else
    slots[#slots + 1] = {slot, kind, count}
    if kind == 'r' then requests = requests + count else tokens = tokens + count end
  end
end
local least = input + math.min(output, 1)
local function fits() return (rpm == 0 or requests < rpm) and (tpm == 0 or tokens + least <= tpm) end
if fits() then
  local granted = input + output
  if tpm > 0 then granted = math.min(granted, tpm - tokens) end
  redis.call('HINCRBY', KEYS[1], 'r' .. second, 1)
  redis.call('HINCRBY', KEYS[1], 't' .. second, granted)
  redis.call('EXPIRE', KEYS[1], 65)
  return {1, second, granted}
end
table.sort(slots, function(a, b) return a[1] < b[1] end)
local wait = 61
for _, slot in ipairs(slots) do
  if slot[2] == 'r' then requests = requests - slot[3] else tokens = tokens - slot[3] end
  if fits() then wait = slot[1] + 61 - at break end
end
return {0, 0, math.ceil(wait * 1000)}
"""
SETTLE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2]) end
"""
COUNT_IN_DATABASE = """
INSERT INTO llm_callcount AS kept (model_id, second, requests, tokens) VALUES (%s, %s, 1, %s)
ON CONFLICT (model_id, second) DO UPDATE
SET requests = kept.requests + 1, tokens = kept.tokens + excluded.tokens
"""


class _Store(StrEnum):
    NONE = "none"
    VALKEY = "valkey"
    DATABASE = "database"


@dataclass(frozen=True)
class Need:
    """What a call will take, in tokens. output: at most; 0 of an embedding."""

    input_tokens: int
    output_tokens: int = 0

    @property
    def least(self) -> int:
        return self.input_tokens + min(self.output_tokens, 1)


@dataclass(frozen=True)
class Reservation:
    """Tokens that are counted for a call until it is settled."""

    store: _Store
    model: Model
    second: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Full:
    """No room: the seconds until there is."""

    wait: float


async def reserve(model: Model, need: Need, deadline: Deadline, patience: float = LONGEST_WAIT_SECONDS) -> Reservation:
    """Count a call, waiting a little for room. patience: the longest wait, in seconds.

    Raises NotAsked, with the time to wait, when there is none in time; without a time to wait for a call that is larger
    than a whole minute of the model.
    """
    if not (model.requests_per_minute or model.tokens_per_minute):
        return Reservation(_Store.NONE, model)
    if model.tokens_per_minute and need.least > model.tokens_per_minute:
        raise NotAsked(
            TOO_LARGE,
            f"This call needs about {need.least:,} tokens; the model takes {model.tokens_per_minute:,} in a minute.",
        )
    until = Deadline(min(patience, deadline.left))
    while isinstance(answer := await _try(model, need), _Full):
        if answer.wait >= until.left:
            raise NotAsked(LIMIT, "The model's limit for a minute is reached.", wait=answer.wait)
        # Reservations are often larger than what is used, so room may come before the time.
        await asyncio.sleep(min(answer.wait, POLL_SECONDS) + random.uniform(0, 0.1))  # noqa: S311  # spreads load
    return answer


async def settle(reservation: Reservation, tokens: int) -> None:
    """Correct the count to the tokens that the call took. A store that went away keeps the reservation: too much."""
    correction = tokens - reservation.tokens
    match reservation.store if correction else _Store.NONE:
        case _Store.VALKEY:
            key, slot = _key(reservation.model), f"t{reservation.second}"
            try:
                await ask(lambda client: client.eval(SETTLE, 1, key, slot, correction))
            except ValkeyAway:
                return
        case _Store.DATABASE:
            try:
                await in_database(_settle_in_database, reservation, correction)
            except DatabaseError:
                logger.warning("llm.tokens_not_settled", extra={"model": reservation.model.slug})


async def _try(model: Model, need: Need) -> Reservation | _Full:
    limits = (model.requests_per_minute or 0, model.tokens_per_minute or 0, need.input_tokens, need.output_tokens)
    try:
        taken, second, figure = await ask(lambda client: client.eval(RESERVE, 1, _key(model), *limits))
    except ValkeyAway:
        return await in_database(_reserve_in_database, model, need)
    return Reservation(_Store.VALKEY, model, second, figure) if taken else _Full(figure / 1000)


def _key(model: Model) -> str:
    return f"magnet:model-minute:{model.pk}"


@transaction.atomic
def _reserve_in_database(model: Model, need: Need) -> Reservation | _Full:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_key(model)])
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        now = float(cursor.fetchone()[0])
        second = int(now)
        cursor.execute(
            "DELETE FROM llm_callcount WHERE model_id = %s AND second < %s", [model.pk, second - WINDOW_SECONDS]
        )
        cursor.execute(
            "SELECT second, requests, tokens FROM llm_callcount WHERE model_id = %s ORDER BY second", [model.pk]
        )
        slots = cursor.fetchall()
        requests, tokens = sum(slot[1] for slot in slots), sum(slot[2] for slot in slots)
        if not _fits(model, need, requests, tokens):
            return _Full(_wait(model, need, slots) - now)
        granted = need.input_tokens + need.output_tokens
        if model.tokens_per_minute:
            granted = min(granted, model.tokens_per_minute - tokens)
        cursor.execute(COUNT_IN_DATABASE, [model.pk, second, granted])
        return Reservation(_Store.DATABASE, model, second, granted)


def _fits(model: Model, need: Need, requests: int, tokens: int) -> bool:
    rpm, tpm = model.requests_per_minute, model.tokens_per_minute
    return (not rpm or requests < rpm) and (not tpm or tokens + need.least <= tpm)


def _wait(model: Model, need: Need, slots: list[Any]) -> float:
    """The epoch second at which enough of the slots have passed."""
    requests, tokens = sum(slot[1] for slot in slots), sum(slot[2] for slot in slots)
    for second, more_requests, more_tokens in slots:
        requests, tokens = requests - more_requests, tokens - more_tokens
        if _fits(model, need, requests, tokens):
            return float(second + WINDOW_SECONDS + 1)
    return float(slots[-1][0] + WINDOW_SECONDS + 1)


def _settle_in_database(reservation: Reservation, correction: int) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE llm_callcount SET tokens = greatest(0, tokens + %s) WHERE model_id = %s AND second = %s",
            [correction, reservation.model.pk, reservation.second],
        )
