"""Which code speaks to which type of provider. SDKs are imported at the first connection."""

from llm.choices import ProviderType
from llm.models import Model
from plugins.contracts import Provider
from plugins.registry import PLUGINS


class LocalFactory:
    name = ProviderType.LOCAL.value

    @property
    def title(self) -> str:
        return str(ProviderType.LOCAL.label)

    def __call__(self, *, base_url: str, api_key: str, timeout_seconds: float) -> Provider:
        del base_url, api_key, timeout_seconds  # it runs here
        from llm.providers.local.provider import LocalProvider

        return LocalProvider()


class OpenAIFactory:
    name = ProviderType.OPENAI.value

    @property
    def title(self) -> str:
        return str(ProviderType.OPENAI.label)

    def __call__(self, *, base_url: str, api_key: str, timeout_seconds: float) -> Provider:
        from llm.providers.openai.provider import OpenAIProvider

        return OpenAIProvider(base_url=base_url, api_key=api_key, timeout_seconds=timeout_seconds)


def connect(model: Model) -> Provider:
    """A connection for this model's provider. Raises PluginError when the plugin of its type is gone."""
    provider = model.provider
    factory = PLUGINS.providers.get(provider.type)
    return factory(base_url=provider.base_url, api_key=provider.api_key.reveal(), timeout_seconds=model.timeout_seconds)
