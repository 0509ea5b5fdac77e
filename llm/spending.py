"""What runs say that they have spent."""

from typing import Any

from plugins.contracts import TokenUsage


def usage_object(usage: TokenUsage | None) -> dict[str, Any]:
    """Tokens of the chat model of a run. What all its calls cost is filled in when the run is closed."""
    known = usage or TokenUsage()
    return {
        "input_tokens": known.input_tokens,
        "cached_input_tokens": known.cached_input_tokens,
        "output_tokens": known.output_tokens,
        "reasoning_tokens": known.reasoning_tokens,
        "estimated": known.estimated,
        "cost": None,
        "currency": "USD",
    }


def narrower(configured: int | None, asked: int | None) -> int | None:
    """The lower of two limits on an answer's tokens, either of which may be missing."""
    limits = [limit for limit in (configured, asked) if limit is not None]
    return min(limits, default=None)
