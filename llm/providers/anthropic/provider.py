"""Anthropic's Messages API (version 2023-06-01)."""

import json
from collections.abc import AsyncIterator
from typing import Any

from llm.providers.anthropic.requests import message_body
from llm.providers.collecting import CallCollector
from llm.providers.http import HttpProvider
from llm.providers.listing import tokens
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    Endpoint,
    FinishReason,
    ListedModel,
    ProviderFailure,
    TokenUsage,
)

BASE_URL = "https://api.anthropic.com"
FINISH_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
}
ERRORS = {"overloaded_error": "overloaded", "rate_limit_error": "rate_limited", "api_error": "server"}


class AnthropicProvider(HttpProvider):
    """A connection to Anthropic, or to whoever speaks its protocol. It has no embeddings."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"x-api-key": endpoint.api_key, "anthropic-version": "2023-06-01"}
        super().__init__(endpoint, base_url=BASE_URL, headers=headers)

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reading = MessageReader(request.model)
        async for event in self.events("/v1/messages", message_body(request)):
            if event.get("type") == "error":
                if reading.said:
                    break
                raise self.stream_error(event, ERRORS.get((event.get("error") or {}).get("type", ""), "bad_response"))
            delta = reading.read(event)
            if delta is not None:
                yield delta
        yield reading.last()

    async def list_models(self) -> tuple[ListedModel, ...]:
        answer = await self.get("/v1/models?limit=1000")
        try:
            rows = answer["data"]
            return tuple(
                ListedModel(str(one["id"]), "chat", str(one.get("display_name", "")), tokens(one, "max_input_tokens"))
                for one in rows
            )
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no list.") from None


class MessageReader:
    """Turns the events of a message into deltas, and keeps what the last one needs.

    Thoughts are signed and want to come back unchanged with the calls that they led to: `continuation` is their JSON.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.said = False
        self._calls = CallCollector()
        self._inputs: dict[int, Any] = {}
        self._thoughts: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, int] = {}
        self._finish = FinishReason.PROVIDER_CUT

    def read(self, event: dict[str, Any]) -> ChatDelta | None:
        """A delta, where the event holds something to say. Raises ProviderFailure for an event of another shape."""
        try:
            return self._read(event)
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no answer.") from None

    def _read(self, event: dict[str, Any]) -> ChatDelta | None:
        match event.get("type"):
            case "message_start":
                self.model = event["message"].get("model") or self.model
                self._usage.update(event["message"].get("usage") or {})
            case "content_block_start":
                self._begin(event["index"], event["content_block"])
            case "content_block_delta":
                return self._piece(event["index"], event["delta"])
            case "content_block_stop":
                self._end(event["index"])
            case "message_delta":
                self._usage.update(event.get("usage") or {})
                reason = event["delta"].get("stop_reason")
                if reason:
                    self._finish = FINISH_REASONS.get(reason, FinishReason.STOP)
        return None

    def _begin(self, index: int, block: dict[str, Any]) -> None:
        if block["type"] == "tool_use":
            self._calls.add(index, id=block["id"], name=block["name"])
            self._inputs[index] = block.get("input")
        elif block["type"] in ("thinking", "redacted_thinking"):
            self._thoughts[index] = dict(block)

    def _piece(self, index: int, delta: dict[str, Any]) -> ChatDelta | None:
        match delta["type"]:
            case "text_delta":
                self.said = True
                return ChatDelta(text=delta["text"])
            case "input_json_delta":
                if delta["partial_json"]:
                    self._inputs.pop(index, None)
                    self._calls.add(index, arguments=delta["partial_json"])
            case "thinking_delta":
                self._thoughts[index]["thinking"] = self._thoughts[index].get("thinking", "") + delta["thinking"]
                return ChatDelta(reasoning=delta["thinking"])
            case "signature_delta":
                self._thoughts[index]["signature"] = delta["signature"]
        return None

    def _end(self, index: int) -> None:
        """A call without pieces has the input that it began with: `{}` of a tool without parameters."""
        if index in self._inputs:
            self._calls.add(index, arguments=json.dumps(self._inputs.pop(index)))

    def last(self) -> ChatDelta:
        return ChatDelta(
            finish_reason=self._finish,
            usage=_usage(self._usage) if self._finish is not FinishReason.PROVIDER_CUT else None,
            model=self.model,
            tool_calls=self._calls.calls(),
            continuation=json.dumps(list(self._thoughts.values())) if self._thoughts else "",
        )


def _usage(sent: dict[str, int]) -> TokenUsage | None:
    """`input_tokens` leaves out what the cache gave or took; here it is all input, as with other vendors."""
    if not sent:
        return None
    read, written = sent.get("cache_read_input_tokens") or 0, sent.get("cache_creation_input_tokens") or 0
    return TokenUsage(
        input_tokens=(sent.get("input_tokens") or 0) + read + written,
        output_tokens=sent.get("output_tokens") or 0,
        cached_input_tokens=read,
    )
