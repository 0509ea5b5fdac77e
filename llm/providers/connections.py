"""Connections that are kept: one for each provider row and event loop, replaced when the row changes.

A connection that is replaced is closed when the last call on it has ended, so that no stream breaks off.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from llm.models import Model
from llm.providers.registry import connect, load_sdk
from plugins.contracts import Provider

KEPT = 50


@dataclass
class _Kept:
    provider: Provider
    version: int
    users: int = 0
    retired: bool = False

    async def retire(self) -> None:
        """Close it, now or when the last call has ended."""
        self.retired = True
        if not self.users:
            await self.provider.close()


_Key = tuple[uuid.UUID, int]
_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, OrderedDict[_Key, _Kept]]" = WeakKeyDictionary()


@asynccontextmanager
async def connection(model: Model) -> AsyncIterator[Provider]:
    """The connection of the running loop to this model's provider, for one call."""
    kept = await _current(model)
    kept.users += 1
    try:
        yield kept.provider
    finally:
        kept.users -= 1
        if kept.retired and not kept.users:
            await kept.provider.close()


async def _current(model: Model) -> _Kept:
    await load_sdk(model.provider.type)
    rows = _loops.setdefault(asyncio.get_running_loop(), OrderedDict())
    key = (model.provider.pk, model.timeout_seconds)
    found = rows.get(key)
    if found is not None and found.version >= model.provider.version:
        rows.move_to_end(key)
        return found
    kept = rows[key] = _Kept(connect(model), model.provider.version)
    surplus = [rows.popitem(last=False)[1]] if len(rows) > KEPT else []
    for old in ([found] if found is not None else []) + surplus:
        kept.users += 1
        await old.retire()
        kept.users -= 1
    return kept


async def close_connections() -> None:
    """Close what the running loop has kept; calls that are under way end first."""
    for kept in _loops.pop(asyncio.get_running_loop(), OrderedDict()).values():
        await kept.retire()
