"""What goes wrong with models, beyond what `core.exceptions` names."""

from core.exceptions import UpstreamError
from plugins.contracts import TokenUsage


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
