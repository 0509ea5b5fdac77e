import asyncio
import time

import numpy as np
import pytest

from core.exceptions import Conflict, MagnetError, ServiceUnavailable, UpstreamError
from core.ids import uuid7
from llm import batches as batching
from llm.batches import batches
from llm.client import count_tokens, embed, embed_sync
from llm.tests.conftest import KEY
from llm.tests.factories import LocalModelFactory
from magnet.tests.scripted_answers import embed_text
from observability.tracing import TraceRecorder, recording
from plugins.contracts import EmbeddingPurpose

TEXTS = ["one two", "three four five", "six", "a longer text with several words", ""]


async def vectors_of(model, texts=TEXTS, **options):
    return await embed(model, texts, purpose=EmbeddingPurpose.PASSAGE, **options)


@pytest.mark.parametrize("identifier", ["embed", "embed-floats", "embed-packed"])
async def test_vectors_come_in_the_callers_order_however_they_are_sent(model_of, identifier):
    vectors = await vectors_of(model_of(identifier, dimensions=32))

    expected = np.array([embed_text(text or " ") for text in TEXTS], dtype=np.float32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


async def test_no_texts_need_no_call(model_of, scripted):
    assert (await vectors_of(model_of("embed", dimensions=32), [])).shape == (0, 32)
    assert scripted.calls == []


async def test_a_model_without_a_known_size_takes_what_comes(model_of, scripted):
    assert (await vectors_of(model_of("embed"))).shape == (5, 32)
    assert "dimensions" not in scripted.calls[0].body


async def test_a_model_that_can_shorten_is_asked_for_its_size(model_of, scripted):
    assert (await vectors_of(model_of("embed", dimensions=8, shortens=True))).shape == (5, 8)
    assert scripted.calls[0].body["dimensions"] == 8


async def test_a_wrong_size_is_refused_with_both_numbers(model_of):
    with pytest.raises(UpstreamError, match="sent vectors of 64 dimensions; 32 are expected"):
        await vectors_of(model_of("embed-wrong-size", dimensions=32))


@pytest.mark.parametrize("identifier", ["embed-nan", "embed-zero"])
async def test_vectors_without_a_direction_are_refused(model_of, identifier):
    with pytest.raises(UpstreamError, match="sent 5 of 5 vectors that are zero or hold no numbers"):
        await vectors_of(model_of(identifier, dimensions=32))


@pytest.mark.parametrize("identifier", ["embed-too-few", "embed-ragged"])
async def test_an_answer_of_another_shape_is_refused(model_of, identifier):
    with pytest.raises(UpstreamError):
        await vectors_of(model_of(identifier, dimensions=32))


async def test_batches_are_in_flight_together(model_of, scripted, monkeypatch):
    monkeypatch.setattr(batching, "MAX_INPUTS", 3)
    texts = [f"{'word ' * (n % 7)}{n}" for n in range(12)]
    started = time.monotonic()

    vectors = await vectors_of(model_of("embed-slow", dimensions=32), texts)

    assert [len(call.body["input"]) for call in scripted.calls] == [3, 3, 3, 3]
    assert time.monotonic() - started < 0.7, "four calls of 0.2 s ran one after the other"
    np.testing.assert_allclose(vectors, [embed_text(text) for text in texts], atol=1e-6)


async def test_a_request_that_is_too_large_is_split(model_of, scripted):
    vectors = await vectors_of(model_of("embed-at-most-two", dimensions=32))

    assert sorted(len(call.body["input"]) for call in scripted.calls) == [1, 2, 2, 3, 5]
    np.testing.assert_allclose(vectors[3], embed_text(TEXTS[3]), atol=1e-6)


async def test_a_model_that_refuses_everything_is_not_asked_for_every_text(model_of, scripted):
    with pytest.raises(UpstreamError, match="HTTP 400"):
        await vectors_of(model_of("embed-never", dimensions=32), [f"text {n}" for n in range(64)])

    assert len(scripted.calls) == 7  # 64, 32, 16, 8, 4, 2, 1


async def test_what_may_pass_is_retried(model_of, scripted):
    assert (await vectors_of(model_of("unavailable-twice", dimensions=32))).shape == (5, 32)
    assert len(scripted.calls) == 3


@pytest.mark.parametrize("identifier", ["unauthorized", "fails-twice", "not-json", "redirects"])
async def test_what_will_not_pass_is_not_retried_and_tells_no_secret(model_of, identifier, scripted):
    with pytest.raises(UpstreamError) as caught:
        await vectors_of(model_of(identifier, dimensions=32))

    assert len(scripted.calls) == 1
    assert not any(secret in str(caught.value) for secret in (KEY, "sk-", "Bearer", "scripted failure", "html"))


async def test_the_first_failure_ends_the_other_batches(model_of, scripted, monkeypatch):
    monkeypatch.setattr(batching, "MAX_INPUTS", 1)
    with pytest.raises(UpstreamError):
        await vectors_of(model_of("unauthorized", dimensions=32), [str(n) for n in range(40)])

    assert len(scripted.calls) < 10


async def test_a_silent_provider_is_given_up_at_the_deadline(model_of):
    with pytest.raises(ServiceUnavailable, match=r"longer than 0\.3 s in all"):
        await vectors_of(model_of("hang", dimensions=32), deadline=0.3)


async def test_usage_is_what_the_vendor_counted(model_of, monkeypatch):
    monkeypatch.setattr(batching, "MAX_INPUTS", 2)
    recorder = TraceRecorder(name="test", kind="test", workspace_id=uuid7())

    with recording(recorder):
        await vectors_of(model_of("embed", dimensions=32))
        await vectors_of(model_of("embed-no-usage", dimensions=32))

    counted, estimated = recorder.usage
    assert (counted.input_tokens, counted.estimated) == (12, False)
    assert estimated.input_tokens > 0
    assert estimated.estimated
    assert recorder.spans[0].attributes["magnet.inputs"] == 5
    assert recorder.spans[0].attributes["magnet.requests"] == 3


async def test_a_chat_model_embeds_nothing(model_of):
    with pytest.raises(Conflict, match="of the kind 'chat'"):
        await vectors_of(model_of("ok"))


# --- the synchronous side


def test_sync_calls_share_one_connection_and_the_callers_trace(model_of, scripted):
    recorder = TraceRecorder(name="test", kind="test", workspace_id=uuid7())

    with recording(recorder):
        for _ in range(3):
            embed_sync(model_of("embed", dimensions=32), ["text"], purpose=EmbeddingPurpose.QUERY)

    assert len({call.connection for call in scripted.calls}) == 1
    assert len(recorder.usage) == 3


def test_sync_calls_raise_what_the_call_raised(model_of):
    with pytest.raises(MagnetError, match="32 are expected"):
        embed_sync(model_of("embed-wrong-size", dimensions=32), ["text"], purpose=EmbeddingPurpose.QUERY)


# --- batches and tokens


def test_a_batch_keeps_to_the_token_limit():
    parts = batches(["x" * 36_000] * 20, max_input_tokens=1_000_000)

    assert all(sum(len(text) for text in part.texts) <= 60_000 * 3.6 for part in parts)
    assert sorted(position for part in parts for position in part.positions) == list(range(20))


def test_a_text_over_the_models_limit_is_cut_and_an_empty_one_is_a_blank():
    assert batches(["x" * 1000, ""], max_input_tokens=100)[0].texts == (" ", "x" * 360)


async def test_the_local_model_gives_unit_vectors_and_counts_its_own_tokens():
    model = LocalModelFactory.build(workspace=None, provider__workspace=None, provider__pk=uuid7())

    vectors = await asyncio.wait_for(vectors_of(model, ["Annual leave is 28 days.", "Holidays: 28 days a year."]), 60)

    assert vectors.shape == (2, 384)
    assert float(vectors[0] @ vectors[1]) > 0.5
    assert count_tokens(model)("Annual leave") == 2


def test_other_models_tokens_are_estimated_on_the_safe_side(model_of):
    assert count_tokens(model_of("ok"))("") == 0
    assert count_tokens(model_of("ok"))("word " * 100) >= 100
