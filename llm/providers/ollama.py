"""What an Ollama server has installed, asked in its own protocol: OpenAI's says nothing of kinds and limits.

Source: Ollama's API reference, /api/tags and /api/show. Models are called by OpenAI's protocol, as any other's.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from llm.providers.http import HttpProvider
from llm.providers.listing import guessed_kind, tokens
from plugins.contracts import Endpoint, ListedModel, ProviderFailure

STEP_SECONDS = 3.0
TOTAL_SECONDS = 8.0
MOST_MODELS = 30
CONTEXT_TOKENS = 4096
"""What the server reads of a chat unless its OLLAMA_CONTEXT_LENGTH says more, whatever the model could read."""

_CAPABILITIES = {"tools": "tool_calling", "vision": "vision", "thinking": "reasoning"}


async def installed(url: str) -> tuple[ListedModel, ...]:
    """The models of the server at this address, last changed first. Raises ProviderFailure within eight seconds."""
    server = HttpProvider(Endpoint(timeout_seconds=STEP_SECONDS), base_url=url, headers={})
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            names = _names(await server.get("/api/tags"))
            return tuple(await asyncio.gather(*(_described(server, name) for name in names)))
    except TimeoutError:
        raise ProviderFailure("timeout", "Ollama did not answer in time.") from None
    finally:
        await server.close()


def _names(answer: Any) -> list[str]:
    try:
        return [str(one["name"])[:200] for one in answer["models"]][:MOST_MODELS]
    except (KeyError, TypeError):
        raise ProviderFailure("bad_response", "What answers there is no Ollama.") from None


async def _described(server: HttpProvider, name: str) -> ListedModel:
    """An old server does not say what a model can: then its name says the kind."""
    try:
        shown = await server.post("/api/show", {"model": name})
    except ProviderFailure:
        shown = {}
    said = shown if isinstance(shown, dict) else {}
    abilities = said.get("capabilities")
    kind = guessed_kind(name)
    if isinstance(abilities, list):
        kind = "chat" if "completion" in abilities else "embedding" if "embedding" in abilities else ""
    limit = _context(said.get("model_info"))
    if kind != "chat":
        return ListedModel(name, kind, "", limit)
    able = {ours: theirs in abilities for theirs, ours in _CAPABILITIES.items()} if isinstance(abilities, list) else {}
    return ListedModel(name, kind, "", min(limit or CONTEXT_TOKENS, CONTEXT_TOKENS), able)


def _context(info: Any) -> int | None:
    """`llama.context_length`, where the first part is the model's architecture."""
    known: Mapping[str, Any] = info if isinstance(info, dict) else {}
    return tokens(known, *(name for name in known if name.endswith(".context_length")))
