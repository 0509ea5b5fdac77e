"""Which code speaks to which type of provider. SDKs are imported at the first connection."""

import asyncio
import threading
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from django.conf import settings

from llm.choices import ProviderType
from llm.models import Model
from llm.models import Provider as ProviderRow
from llm.providers.presets import OPENAI_PROTOCOL, PRESETS, Preset
from plugins.contracts import Endpoint, Provider
from plugins.registry import PLUGINS, Plugins

_openai_loaded = threading.Event()


@dataclass(frozen=True)
class PresetFactory:
    """Connects to a type of provider that is built in."""

    preset: Preset

    @property
    def name(self) -> str:
        return self.preset.name

    @property
    def title(self) -> str:
        return str(self.preset.title)

    def __call__(self, endpoint: Endpoint) -> Provider:
        if self.name == ProviderType.LOCAL:
            from llm.providers.local.provider import LocalProvider

            return LocalProvider()
        if self.name in OPENAI_PROTOCOL:
            return _openai(self.preset, endpoint)
        provider: Provider = _own(self.name)(endpoint)
        return provider


def _openai(preset: Preset, endpoint: Endpoint) -> Provider:
    from llm.providers.openai.azure import AzureOpenAIProvider
    from llm.providers.openai.provider import OpenAIProvider

    if preset.name == "azure_openai":
        return AzureOpenAIProvider(endpoint, preset.quirks)
    fallback = settings.OPENAI_BASE_URL if preset.name == ProviderType.OPENAI else preset.base_url
    return OpenAIProvider(replace(endpoint, base_url=endpoint.base_url or fallback), preset.quirks)


def _own(name: str) -> Any:
    """The class that speaks this vendor's own protocol."""
    from llm.providers.anthropic.provider import AnthropicProvider
    from llm.providers.bedrock.provider import BedrockProvider
    from llm.providers.cohere import CohereProvider
    from llm.providers.google.provider import GoogleProvider
    from llm.providers.rankers import JinaProvider, TeiProvider, VoyageProvider

    return {
        "anthropic": AnthropicProvider,
        "google": GoogleProvider,
        "cohere": CohereProvider,
        "bedrock": BedrockProvider,
        "jina": JinaProvider,
        "voyage": VoyageProvider,
        "tei": TeiProvider,
    }[name]


def register_built_in(plugins: Plugins) -> None:
    """All types that need no plugin."""
    for preset in PRESETS.values():
        plugins.providers.register(PresetFactory(preset))


async def load_sdk(type_name: str) -> None:
    """Import the client of this type beside the loop, which has others to serve: OpenAI's takes a second."""
    if type_name in OPENAI_PROTOCOL and not _openai_loaded.is_set():
        await asyncio.to_thread(import_module, "openai.resources.embeddings")
        _openai_loaded.set()


def connect(model: Model) -> Provider:
    """A connection for this model's provider. Raises PluginError when the plugin of its type is gone."""
    return connect_row(model.provider, model.timeout_seconds)


def connect_row(row: ProviderRow, timeout_seconds: float) -> Provider:
    """A connection to this provider; the caller closes it."""
    endpoint = Endpoint(
        timeout_seconds=timeout_seconds,
        base_url=row.base_url,
        api_key=row.api_key.reveal(),
        secret=row.secret.reveal(),
        headers=row.headers.reveal(),
        api_version=row.api_version,
        region=row.region,
        project=row.project,
        access_key_id=row.access_key_id,
    )
    return PLUGINS.providers.get(row.type)(endpoint)
