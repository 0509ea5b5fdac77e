"""The local embedding model: shapes, lengths, meaning, and what it must not load."""

import asyncio
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from llm.providers.local import embedding
from llm.providers.local.provider import LocalProvider
from plugins.contracts import EmbeddingPurpose, EmbeddingRequest, ProviderFailure

SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
TEXTS = ["A dog runs across the meadow.", "Invoices are paid within 30 days.", "A puppy plays on the grass."]


def request(*texts: str, model: str = embedding.IDENTIFIER) -> EmbeddingRequest:
    return EmbeddingRequest(model, texts, EmbeddingPurpose.PASSAGE)


def test_tokenizer_is_the_one_whose_hash_and_licence_are_noted():
    assert hashlib.sha256(embedding.TOKENIZER.read_bytes()).hexdigest() == SHA256
    note = (embedding.TOKENIZER.parent / "README.md").read_text()
    assert SHA256 in note
    assert "Apache-2.0" in note


def test_vectors_are_unit_length_float32_of_384_dimensions():
    vectors, tokens = embedding.embed(TEXTS)

    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert tokens == sum(embedding.count_tokens(text) + 2 for text in TEXTS)


def test_texts_of_like_meaning_are_near():
    dog, invoice, puppy = embedding.embed(TEXTS)[0]

    assert dog @ puppy > 0.4
    assert dog @ invoice < 0.2


def test_order_is_kept_although_batches_are_sorted_by_length():
    texts = [("word " * n).strip() for n in (200, 1, 90, 3, 200, 40)]

    together, _ = embedding.embed(texts)

    alone = np.vstack([embedding.embed([text])[0] for text in texts])
    assert (together * alone).sum(axis=1) == pytest.approx(np.ones(6), abs=0.02)


def test_batches_hold_no_more_padded_tokens_than_allowed():
    lengths = [256, 3, 128, 256, 256, 256, 256, 10, 5]

    batches = list(embedding._batches(lengths))

    assert sorted(place for batch in batches for place in batch) == list(range(9))
    assert max(len(batch) * max(lengths[i] for i in batch) for batch in batches) <= embedding.BATCH_TOKENS


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00", "…", "日本語のテキスト", "😀" * 50])
def test_text_without_words_gets_a_real_vector(text):
    vectors, _ = embedding.embed([text])

    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_vectors():
    vectors, tokens = embedding.embed([])

    assert vectors.shape == (0, 384)
    assert tokens == 0


def test_long_text_is_cut_at_the_models_limit():
    vectors, tokens = embedding.embed(["meadow " * 2000, "meadow " * 254])

    assert tokens == 2 * embedding.MAX_TOKENS
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)


def test_counting_does_not_cut():
    assert embedding.count_tokens("meadow " * 2000) == 2000
    assert embedding.count_tokens("") == 0


def test_token_vectors_point_into_the_text():
    text = "Café tables: 3.5 bar"
    (found,) = embedding.token_vectors([text])

    assert [text[start:end] for start, end in found.spans] == ["Café", "tables", ":", "3", ".", "5", "bar"]
    assert found.vectors.shape == (7, 384)
    assert len(found.ids) == 7


def test_counting_loads_no_model():
    code = (
        "import sys; from llm.providers.local.embedding import count_tokens; count_tokens('a b');"
        "sys.exit('onnxruntime' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_provider_embeds_without_blocking_the_loop():
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    answer = await LocalProvider().embed(request(*[f"{text} {n}" for n in range(30) for text in TEXTS]))
    ticking.cancel()

    assert answer.vectors.shape == (90, 384)
    assert answer.usage.input_tokens > 90 * 5
    assert not answer.usage.estimated
    assert answer.model == embedding.IDENTIFIER
    assert ticks > 3


async def test_provider_refuses_other_models_by_name():
    with pytest.raises(ProviderFailure) as caught:
        await LocalProvider().embed(request("x", model="text-embedding-3-small"))

    assert caught.value.kind == "unsupported"
    assert "text-embedding-3-small" in caught.value.message
