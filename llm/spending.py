"""What runs say that they have spent."""

from typing import Any

from plugins.contracts import TokenUsage


def usage_object(usage: TokenUsage | None) -> dict[str, Any]:
    """Tokens of the run. cost is null while the model has no price."""
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
