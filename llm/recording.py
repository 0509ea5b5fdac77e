"""What a call of a model leaves behind: attributes of its span, and a usage record."""

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.exceptions import ServiceUnavailable, UpstreamError
from llm.exceptions import ToolCallsBroken
from llm.models import Model
from llm.retries import RETRYABLE
from observability.choices import Operation, SpanStatus
from observability.tracing import SpanRecord, UsageEntry, record_usage
from plugins.contracts import ChatDelta, ProviderFailure, TokenUsage


def request_attributes(model: Model) -> dict[str, object]:
    """By OpenTelemetry's names for generative models."""
    return {"gen_ai.provider.name": model.provider.slug, "gen_ai.request.model": model.identifier}


@dataclass
class Spent:
    """The tokens of one call, added up over its requests. replied: the model that answered. requests: attempts too."""

    model: Model
    operation: Operation
    usage: TokenUsage = field(default_factory=TokenUsage)
    replied: str = ""
    requests: int = 0
    failed: bool = False
    started: float = field(default_factory=time.perf_counter)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, usage: TokenUsage, replied: str) -> None:
        self.usage = replace(
            self.usage,
            input_tokens=self.usage.input_tokens + usage.input_tokens,
            output_tokens=self.usage.output_tokens + usage.output_tokens,
            cached_input_tokens=self.usage.cached_input_tokens + usage.cached_input_tokens,
            reasoning_tokens=self.usage.reasoning_tokens + usage.reasoning_tokens,
            estimated=self.usage.estimated or usage.estimated,
        )
        self.replied = replied or self.replied

    def record(self, span: SpanRecord) -> None:
        """Close the books of the call, however it ended."""
        replied = self.replied or self.model.identifier
        span.set(
            **{
                "gen_ai.response.model": replied,
                "gen_ai.usage.input_tokens": self.usage.input_tokens,
                "gen_ai.usage.output_tokens": self.usage.output_tokens,
                "magnet.requests": self.requests,
            }
        )
        record_usage(
            UsageEntry(
                operation=self.operation,
                provider_type=self.model.provider.type,
                provider_slug=self.model.provider.slug,
                model_slug=self.model.slug,
                model_identifier=replied,
                input_tokens=self.usage.input_tokens,
                output_tokens=self.usage.output_tokens,
                cached_input_tokens=self.usage.cached_input_tokens,
                reasoning_tokens=self.usage.reasoning_tokens,
                estimated=self.usage.estimated,
                duration_ms=round((time.perf_counter() - self.started) * 1000, 3),
                status=SpanStatus.ERROR if self.failed else SpanStatus.OK,
                model_id=self.model.pk,
                created_at=self.began,
                span_id=span.id,
            )
        )


def explained(failure: ProviderFailure, model: Model) -> UpstreamError | ServiceUnavailable:
    """The failure as an error of ours: 503 where waiting may help, 502 elsewhere."""
    hint = f"Model '{model.slug}' of provider '{model.provider.slug}'."
    if failure.kind in RETRYABLE:
        wait = None if failure.retry_after is None else max(1, round(failure.retry_after))
        return ServiceUnavailable(failure.message, hint=hint, retry_after=wait)
    return UpstreamError(failure.message, hint=hint)


def broken_calls(broken: Exception, model: Model, last: ChatDelta, text: str) -> ToolCallsBroken:
    """Calls that must not run, as an error of ours that carries what the answer cost."""
    hint = f"Model '{model.slug}' of provider '{model.provider.slug}'."
    usage = last.usage or TokenUsage()
    return ToolCallsBroken(str(broken), hint=hint, text=text, usage=usage, model=last.model)
