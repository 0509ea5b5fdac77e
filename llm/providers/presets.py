"""The types of providers that are built in, and how those that speak OpenAI's protocol differ from it.

A row here is all that a further vendor of that protocol needs. Sources: the vendors' API references, November 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Quirks:
    """How a server differs from OpenAI's.

    max_tokens, seed: the names of these settings. completion_tokens: the vendor's own models want
    `max_completion_tokens`. stream_options: whether it takes them; where it does not, usage comes unasked or not at
    all. any_tool: its word for "has to call a tool". short_call_ids: ids of calls are nine letters and digits.
    fixed_sampling: identifiers of models that refuse temperature and top_p. effort: takes `reasoning_effort`.
    rerank_path: where it scores documents, if it does. lists: whether it lists its models.
    """

    max_tokens: str = "max_tokens"
    seed: str = "seed"
    stream_options: bool = True
    any_tool: str = "required"
    short_call_ids: bool = False
    fixed_sampling: str = ""
    effort: bool = True
    rerank_path: str = ""
    lists: bool = True

    def samples(self, identifier: str) -> bool:
        """Whether this model takes temperature and top_p."""
        return not self.fixed_sampling or re.match(self.fixed_sampling, identifier) is None


@dataclass(frozen=True)
class Preset:
    """A type of provider. base_url: where it is without one of the row's. requires: fields that must be filled.

    capabilities: what its models can or cannot do unless the catalogue knows better.
    """

    name: str
    title: Any
    base_url: str = ""
    quirks: Quirks = field(default_factory=Quirks)
    requires: frozenset[str] = frozenset()
    capabilities: Mapping[str, bool] = field(default_factory=dict)


# OpenAI's models that reason set their sampling themselves.
_REASONING = r"^(o\d|gpt-5(?!.*chat))"
_URL = frozenset({"base_url"})
_NO_SCHEMA = {"json_schema": False}

OPENAI_PROTOCOL: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "openai",
            _("OpenAI, or any endpoint that speaks its protocol"),
            quirks=Quirks(fixed_sampling=_REASONING, rerank_path="rerank"),
        ),
        Preset(
            "azure_openai",
            _("Azure OpenAI"),
            quirks=Quirks(max_tokens="max_completion_tokens", fixed_sampling=_REASONING),
            requires=_URL,
        ),
        Preset(
            "mistral",
            _("Mistral"),
            "https://api.mistral.ai/v1",
            Quirks(seed="random_seed", stream_options=False, any_tool="any", short_call_ids=True, effort=False),
        ),
        Preset("ollama", _("Ollama"), "http://127.0.0.1:11434/v1"),
        Preset("vllm", _("vLLM"), quirks=Quirks(rerank_path="rerank"), requires=_URL),
        Preset("groq", _("Groq"), "https://api.groq.com/openai/v1", Quirks(max_tokens="max_completion_tokens")),
        Preset("together", _("Together AI"), "https://api.together.xyz/v1", Quirks(rerank_path="rerank")),
        Preset("openrouter", _("OpenRouter"), "https://openrouter.ai/api/v1"),
        Preset(
            "deepseek",
            _("DeepSeek"),
            "https://api.deepseek.com/v1",
            Quirks(effort=False, fixed_sampling=r"^deepseek-reasoner"),
            capabilities=_NO_SCHEMA,
        ),
        Preset("xai", _("xAI"), "https://api.x.ai/v1"),
        Preset("fireworks", _("Fireworks AI"), "https://api.fireworks.ai/inference/v1"),
        Preset(
            "perplexity",
            _("Perplexity"),
            "https://api.perplexity.ai",
            Quirks(stream_options=False, lists=False),
            capabilities={"tool_calling": False, "json_mode": False},
        ),
        Preset("lm_studio", _("LM Studio"), "http://127.0.0.1:1234/v1", capabilities={"json_mode": False}),
        Preset("litellm", _("LiteLLM proxy"), quirks=Quirks(rerank_path="rerank"), requires=_URL),
    )
}

OWN_PROTOCOLS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "anthropic",
            _("Anthropic"),
            "https://api.anthropic.com",
            # Its schemas are a part of JSON Schema that most do not keep to; tick it where yours do.
            capabilities={"json_mode": False, "json_schema": False, "vision": True},
        ),
        Preset("google", _("Google Gemini and Vertex AI"), capabilities={"vision": True}),
        Preset("cohere", _("Cohere"), "https://api.cohere.com"),
        Preset(
            "bedrock",
            _("Amazon Bedrock"),
            requires=frozenset({"region"}),
            capabilities={"json_mode": False, "json_schema": False},
        ),
        Preset("jina", _("Jina AI: rerank and embedding"), "https://api.jina.ai/v1"),
        Preset("voyage", _("Voyage AI: rerank and embedding"), "https://api.voyageai.com/v1"),
        Preset("tei", _("Text Embeddings Inference: rerank and embedding"), requires=_URL),
    )
}

LOCAL = Preset(
    "local",
    _("Local: runs here, needs no key"),
    capabilities={"json_mode": False, "json_schema": False, "tool_calling": False},
)

PRESETS: dict[str, Preset] = {LOCAL.name: LOCAL, **OPENAI_PROTOCOL, **OWN_PROTOCOLS}
