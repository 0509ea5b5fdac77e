"""Examples of providers, models and prices."""

from core.api.examples import Examples

PROVIDERS = Examples(
    requests={
        "create": {
            "name": "Own vLLM",
            "slug": "own-vllm",
            "description": "The server in the cellar.",
            "type": "openai",
            "base_url": "https://llm.example.org/v1",
            "api_key": "sk-example",
        },
        "partial_update": {"description": "The server in the attic."},
    },
    path={"id": "own-vllm"},
    paths={"available_models": {"id": "openai"}},
)

OLLAMA = Examples()

MODELS = Examples(
    requests={
        "create": {
            "name": "Mistral Small",
            "slug": "mistral-small",
            "provider": "own-vllm",
            "kind": "chat",
            "identifier": "mistral-small-3.2",
            "max_input_tokens": 32000,
        },
        "partial_update": {"timeout_seconds": 90},
    },
    path={"id": "mistral-small"},
    paths={"test": {"id": "extractive"}, "make_drafts": {"id": "gpt-5-mini"}, "offered_drafts": {"id": "gpt-5-mini"}},
)

MODEL_PRICES = Examples(
    requests={
        "create": {
            "input": "0.10",
            "output": "0.30",
            "currency": "EUR",
            "valid_from": "2030-01-01T00:00:00Z",
            "note": "Electricity, as of May",
        }
    },
    path={"id": "mistral-small"},
)
