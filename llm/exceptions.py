"""What goes wrong with models, beyond what `core.exceptions` names."""

from core.exceptions import ServiceUnavailable, UpstreamError
from plugins.contracts import ProviderFailure, TokenUsage

BREAKER_OPEN, LIMIT, TOO_LARGE = "breaker_open", "limit", "too_large"


def in_the_vendors_words(failure: ProviderFailure) -> str:
    """Our message with what the vendor says itself, its credentials taken out. Only for those who configure it."""
    return f'{failure.message} It says: "{failure.vendor_message}"' if failure.vendor_message else failure.message


class ModelLimitReached(ServiceUnavailable):
    """The model's own limit of requests or tokens in a minute is used up."""

    code = "model_rate_limited"
    status = 429
    title = "Too many requests"


class NotAsked(ProviderFailure):
    """A call that was not sent: the model's breaker is open, or its minute is full.

    kind: `breaker_open`, `limit` or `too_large`. wait: seconds until another try makes sense, where it ever does.
    """

    def __init__(self, kind: str, message: str, *, wait: float | None = None) -> None:
        super().__init__(kind, message, retry_after=wait)


class ToolCallsBroken(UpstreamError):
    """A model began to call tools, and its calls did not arrive whole: none of them may run.

    reason: for the model, when it is asked again. text: what it said before. usage, model: what the call cost.
    """

    code = "tool_calls_broken"
    title = "Incomplete tool call"

    def __init__(self, reason: str, *, hint: str, text: str, usage: TokenUsage, model: str) -> None:
        super().__init__(f"The model's tool calls cannot be run: {reason}", hint=hint)
        self.reason = reason
        self.text = text
        self.usage = usage
        self.model = model
