"""What happens when a process of the platform ends: hooks that save what is running, the last registered first."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

ShutdownHook = Callable[[], Awaitable[None]]

# Within the 20 s that uvicorn grants open requests, and the 30 s that the supervisor grants the process.
HOOK_SECONDS = 15

_hooks: list[ShutdownHook] = []
_shutdown: asyncio.Task[None] | None = None


def on_shutdown(hook: ShutdownHook) -> ShutdownHook:
    """Await this when the web process ends. Registering it twice calls it once."""
    if hook not in _hooks:
        _hooks.append(hook)
    return hook


def stopping() -> bool:
    """Whether the process is on its way out and takes no new work."""
    return _shutdown is not None


def begin_shutdown() -> asyncio.Task[None]:
    """Start the hooks on the running loop; asked again, the answer is the shutdown that runs already."""
    global _shutdown  # noqa: PLW0603 - a process stops once
    if _shutdown is None:
        _shutdown = asyncio.get_running_loop().create_task(_run_hooks())
    return _shutdown


async def shut_down() -> None:
    """Run every hook and wait for the end. A hook that hangs or fails does not keep the others from running."""
    await begin_shutdown()


async def _run_hooks() -> None:
    for hook in reversed(_hooks):
        try:
            await asyncio.wait_for(hook(), HOOK_SECONDS)
        except Exception:  # the process ends: whatever a hook raises is recorded, and the rest is still saved
            logger.exception("shutdown.hook_failed", extra={"hook": getattr(hook, "__qualname__", repr(hook))})
