"""Connections that are kept: one for each provider row and event loop, replaced when the row changes."""

import asyncio
import uuid
from weakref import WeakKeyDictionary

from llm.models import Model
from llm.providers.registry import connect
from plugins.contracts import Provider

KEPT = 50

_kept: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[uuid.UUID, int, int], Provider]]" = WeakKeyDictionary()


def connection(model: Model) -> Provider:
    """The connection of the running loop to this model's provider."""
    loop = asyncio.get_running_loop()
    kept = _kept.setdefault(loop, {})
    key = (model.provider.pk, model.provider.version, model.timeout_seconds)
    found = kept.get(key)
    if found is None:
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        found = kept[key] = connect(model)
    return found
