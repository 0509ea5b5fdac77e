"""Examples of the OpenAI-compatible endpoints."""

from core.api.examples import Examples

QUESTION = "When does the car park behind the house open?"

MODELS = Examples(path={"id": "handbook-qa"})

CHAT_COMPLETIONS = Examples(
    requests={"post": {"model": "handbook-qa", "messages": [{"role": "user", "content": QUESTION}]}}
)

RESPONSES = Examples(requests={"post": {"model": "handbook-qa", "input": QUESTION}})

EMBEDDINGS = Examples(
    requests={"post": {"model": "default-embedding", "input": [QUESTION], "encoding_format": "base64"}}
)
