"""What a call of a model leaves behind: attributes of its span, and a usage record of each model that was asked."""

import logging
import math
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from core.exceptions import MagnetError, PayloadTooLarge, ServiceUnavailable, UpstreamError
from llm.exceptions import (
    BREAKER_OPEN,
    LIMIT,
    TOO_LARGE,
    ModelLimitReached,
    ToolCallsBroken,
    in_the_vendors_words,
)
from llm.models import Model
from llm.retries import RETRYABLE
from llm.telemetry import request_attributes, usage_attributes
from observability.choices import Operation, SpanStatus
from observability.tracing import SpanRecord, UsageEntry, record_usage
from plugins.contracts import ChatDelta, ProviderFailure, TokenUsage

logger = logging.getLogger(__name__)

LOGGED_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")


@dataclass
class Spent:
    """The tokens that one call took of one model, added up over its requests.

    replied: the model that answered, as the vendor names it. requests: attempts too.
    """

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
        record_usage(
            UsageEntry(
                operation=self.operation,
                provider_type=self.model.provider.type,
                provider_slug=self.model.provider.slug,
                model_slug=self.model.slug,
                model_identifier=self.replied or self.model.identifier,
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


@dataclass
class Books:
    """What one call spends, by the model that it spends it on, and what was tried in vain.

    asked: the model that the caller named; last: the one that was asked last. forced: no other one is asked instead.
    cached: the answer was given before, and costs nothing.
    """

    asked: Model
    operation: Operation
    forced: bool = False
    cached: bool = False
    _spent: dict[uuid.UUID, Spent] = field(default_factory=dict)
    _tries: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.asked

    def of(self, model: Model) -> Spent:
        """The page of this model, which is asked now."""
        self.last = model
        return self._spent.setdefault(model.pk, Spent(model, self.operation))

    def failed_try(self, model: Model, failure: ProviderFailure) -> None:
        self._tries.append({"model": model.slug, "error": failure.kind})

    def fail(self) -> None:
        self.of(self.last).failed = True

    def close(self, span: SpanRecord) -> None:
        """Close the books of the call, however it ended."""
        asked = list(self._spent.values())
        replied = self.of(self.last)
        span.set(
            **request_attributes(self.last),
            **{
                "gen_ai.response.model": replied.replied or self.last.identifier,
                **usage_attributes([one.usage for one in asked]),
                "magnet.requests": sum(one.requests for one in asked),
                **({"magnet.failed_attempts": self._tries} if self._tries else {}),
                **({"magnet.cached": True} if self.cached else {}),
                **({"magnet.fallback_of": self.asked.slug} if self.last.pk != self.asked.pk else {}),
            },
        )
        self._log(span)
        for one in asked or [replied]:
            one.record(span)

    def _log(self, span: SpanRecord) -> None:
        """A line of the call, with the ids of its run or job; never what was said."""
        tokens = {name.rpartition("usage.")[2]: span.attributes[name] for name in LOGGED_TOKENS}
        failed = self.of(self.last).failed
        told = {"operation": self.operation.value, "model": self.last.slug, "provider": self.last.provider.slug}
        took = round((time.perf_counter() - self.of(self.last).started) * 1000)
        logger.info(
            "model.called",
            extra={**told, **tokens, "status": "error" if failed else "ok", "duration_ms": took},
        )


def explained(failure: ProviderFailure, books: Books) -> MagnetError:
    """The failure as an error of ours: 429 at the model's own limit, 503 where waiting may help, 502 elsewhere.

    Who tries a model configures it, and reads what its vendor says; other callers read our words alone.
    """
    model, message = books.last, in_the_vendors_words(failure) if books.forced else failure.message
    hint = f"Model '{model.slug}' of provider '{model.provider.slug}'."
    wait = None if failure.retry_after is None else max(1, math.ceil(failure.retry_after))
    if failure.kind == LIMIT:
        return ModelLimitReached(message, hint=hint, retry_after=wait)
    if failure.kind == TOO_LARGE:
        return PayloadTooLarge(message, hint=hint)
    if failure.kind in RETRYABLE or failure.kind == BREAKER_OPEN:
        return ServiceUnavailable(message, hint=hint, retry_after=wait)
    return UpstreamError(message, hint=hint)


def broken_calls(broken: Exception, model: Model, last: ChatDelta, text: str) -> ToolCallsBroken:
    """Calls that must not run, as an error of ours that carries what the answer cost."""
    hint = f"Model '{model.slug}' of provider '{model.provider.slug}'."
    usage = last.usage or TokenUsage()
    return ToolCallsBroken(str(broken), hint=hint, text=text, usage=usage, model=last.model)
