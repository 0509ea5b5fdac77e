"""What happens when a process of the platform ends: hooks that save what is running, the last registered first."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

ShutdownHook = Callable[[], Awaitable[None]]

# Within the 20 s that uvicorn grants open requests, and the 30 s that the supervisor grants the process.
HOOK_SECONDS = 15

_hooks: list[ShutdownHook] = []
_stopping = False


def on_shutdown(hook: ShutdownHook) -> ShutdownHook:
    """Await this when the web process ends. Registering it twice calls it once."""
    if hook not in _hooks:
        _hooks.append(hook)
    return hook


def stopping() -> bool:
    """Whether the process is on its way out and takes no new work."""
    return _stopping


async def shut_down() -> None:
    """Run every hook, each with its own time limit; a hook that fails does not keep the others from running."""
    global _stopping  # noqa: PLW0603 - a process stops once
    _stopping = True
    for hook in reversed(_hooks):
        try:
            await asyncio.wait_for(hook(), HOOK_SECONDS)
        except Exception:  # the process ends: whatever a hook raises is recorded, the rest still saved
            logger.exception("shutdown.hook_failed", extra={"hook": getattr(hook, "__qualname__", repr(hook))})
