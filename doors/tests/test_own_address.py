"""No request names another address, key or header for the call to the vendor, even where the address is allowed."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from llm.choices import ModelKind
from llm.providers.connections import close_connections
from llm.tests.factories import ModelFactory
from prompts.tests.test_api_runs import Site

SAID = [{"role": "user", "content": "Hello"}]
DOORS = {
    "/v1/chat/completions": {"model": "echo", "messages": SAID, "metadata": {"text": "Hello"}},
    "/v1/responses": {"model": "ok", "input": "Hello"},
    "/v1/embeddings": {"model": "embed", "input": "Hello"},
    "/v1/chat/completions?raw": {"model": "ok", "messages": SAID},
    "/api/v1/prompt-templates/echo/run": {"variables": {"text": "Hello"}},
}
THEIRS = {"Authorization": "Bearer theirs", "X-Team": "theirs"}


def naming(url: str) -> dict[str, object]:
    """All names under which SDKs, gateways and the predecessor take another destination."""
    addresses = ("base_url", "api_base", "endpoint", "azure_endpoint", "url", "proxy", "http_proxy")
    options = {"base_url": url, "api_base": url, "headers": THEIRS, "api_key": "theirs"}
    return {
        **dict.fromkeys(addresses, url),
        **dict.fromkeys(("api_key", "organization", "project", "secret"), "theirs"),
        **dict.fromkeys(("headers", "extra_headers", "default_headers"), THEIRS),
        **dict.fromkeys(("provider", "litellm_params", "extra_body", "extra_query", "model_settings"), options),
        "metadata": {"base_url": url, "api_key": "theirs"},
    }


@pytest.fixture
async def site(transactional_db, scripted, elsewhere):
    def build() -> Site:
        made = Site(scripted)
        made.model("ok")
        ModelFactory(provider=made.provider, slug="embed", identifier="embed", kind=ModelKind.EMBEDDING)
        return made

    yield await sync_to_async(build)()
    await close_connections()


@pytest.mark.parametrize("path", DOORS)
async def test_call_goes_to_the_stored_address_with_the_stored_key_alone(path, site, scripted, elsewhere):
    key = await sync_to_async(site.key)()

    async def post(body: dict[str, object]) -> int:
        answer = await AsyncClient().post(
            path,
            json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {key}", "X-Base-Url": elsewhere.url, "OpenAI-Organization": "theirs"},
        )
        return answer.status_code

    plain = await post(DOORS[path])
    status = await post({**naming(elsewhere.url), **DOORS[path]})

    assert (plain, elsewhere.calls) == (200, [])
    assert status in (200, 400)
    assert len(scripted.calls) == (2 if status == 200 else 1)
    for call in scripted.calls:
        assert call.headers["authorization"] == "Bearer " + "sk-x" * 9
        assert "theirs" not in str(call.headers) + json.dumps(call.body)
        assert elsewhere.endpoint not in str(call.headers) + json.dumps(call.body)
