"""Azure OpenAI: OpenAI's protocol, with the deployment in the path and the version in the query."""

from typing import Any

from llm.providers.openai.provider import OpenAIProvider

API_VERSION = "2024-10-21"  # the latest that is generally available and dated


class AzureOpenAIProvider(OpenAIProvider):
    """A resource of Azure OpenAI. The identifier of a model is the name of its deployment."""

    def _connect(self, **arguments: Any) -> Any:
        import openai

        return openai.AsyncAzureOpenAI(
            azure_endpoint=self._endpoint.base_url,
            api_version=self._endpoint.api_version or API_VERSION,
            **arguments,
        )
