"""Answers that are given again to exactly the same request, for models that ask for it (`cache_seconds`).

The key is a hash of the workspace, the model in its present version, and the whole request as it would be sent. Only
whole answers are kept, never ones with tools, never one that a fallback gave, and none of a run whose contents are not
to be kept. They stand in Valkey: a workspace has WORKSPACE_BYTES there, and the oldest go first. Without Valkey nothing
is kept, and nothing fails.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.valkey import ValkeyAway, ask
from llm.models import Model
from llm.recording import Books
from observability.choices import ObservabilityLevel
from observability.tracing import level_now
from plugins.contracts import ChatDelta, ChatRequest, FinishReason, TokenUsage

ANSWER_BYTES = 256 * 1024
WORKSPACE_BYTES = 16 * 2**20

# KEYS: the answer, the workspace's list of answers by age, their sizes. ARGV: answer, size, seconds, most bytes.
KEEP = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local total = tonumber(redis.call('HGET', KEYS[3], 'total') or '0')
local function forget(key)
  total = total - tonumber(redis.call('HGET', KEYS[3], key) or '0')
  redis.call('DEL', key)
  redis.call('HDEL', KEYS[3], key)
  redis.call('ZREM', KEYS[2], key)
end
forget(KEYS[1])
while total + tonumber(ARGV[2]) > tonumber(ARGV[4]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then total = 0 break end
  forget(oldest)
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('HSET', KEYS[3], KEYS[1], ARGV[2], 'total', total + tonumber(ARGV[2]))
local longest = math.max(tonumber(ARGV[3]), redis.call('TTL', KEYS[2]))
redis.call('EXPIRE', KEYS[2], longest)
redis.call('EXPIRE', KEYS[3], longest)
"""


@dataclass(frozen=True)
class Kept:
    """An answer in the pieces in which it came. model: the one that replied, as the vendor names it."""

    texts: tuple[str, ...]
    model: str
    refused: bool

    def deltas(self) -> list[ChatDelta]:
        """The answer as a stream; it costs nothing."""
        end = ChatDelta(finish_reason=FinishReason.STOP, usage=TokenUsage(), model=self.model, refused=self.refused)
        return [*(ChatDelta(text=text) for text in self.texts), end]


async def find(model: Model, request: ChatRequest) -> Kept | None:
    """The answer that this request got before, or None."""
    if not _may_repeat(model, request):
        return None
    try:
        stored = await ask(lambda client: client.get(_key(model, request)))
    except ValkeyAway:
        return None
    if stored is None:
        return None
    found = json.loads(stored)
    return Kept(tuple(found["texts"]), found["model"], found["refused"])


async def keep(books: Books, request: ChatRequest, texts: Sequence[str], last: ChatDelta) -> None:
    """Keep a whole answer of the model itself; one that broke off, was cut at its longest, or is too large is not
    kept."""
    model = books.asked
    if last.finish_reason is not FinishReason.STOP or not texts or not _may_repeat(model, request):
        return
    if books.cached or books.forced or books.last is not model or level_now() is ObservabilityLevel.NONE:
        return
    answer = json.dumps({"texts": list(texts), "model": last.model, "refused": last.refused}).encode()
    if len(answer) > ANSWER_BYTES:
        return
    prefix = f"magnet:answers:{{{model.workspace_id}}}"
    keys = (_key(model, request), prefix, f"{prefix}:sizes")
    arguments = (answer, len(answer), model.cache_seconds, WORKSPACE_BYTES)
    try:
        await ask(lambda client: client.eval(KEEP, len(keys), *keys, *arguments))
    except ValkeyAway:
        return


def _may_repeat(model: Model, request: ChatRequest) -> bool:
    uses_tools = request.tools or any(one.tool_calls or one.tool_call_id for one in request.messages)
    return bool(model.cache_seconds) and not uses_tools


def _key(model: Model, request: ChatRequest) -> str:
    whole: dict[str, Any] = {
        "model": [str(model.pk), model.version, str(model.provider_id), model.provider.version],
        "request": asdict(request),
    }
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()
    return f"magnet:answer:{{{model.workspace_id}}}:{digest}"
