"""Which code speaks to which type of provider."""

from llm.choices import ProviderType
from llm.models import Model
from plugins.contracts import Provider


def connect(model: Model) -> Provider:
    """A connection for this model's provider. SDKs are imported here, when they are needed."""
    provider = model.provider
    if provider.type == ProviderType.LOCAL:
        from llm.providers.local.provider import LocalProvider

        return LocalProvider()
    from llm.providers.openai import OpenAIProvider

    return OpenAIProvider(
        base_url=provider.base_url, api_key=provider.api_key.reveal(), timeout_seconds=model.timeout_seconds
    )
