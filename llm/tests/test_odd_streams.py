"""What vendors send when they, or something on the way, misbehave (H01, H02)."""

import time

import pytest

from core.exceptions import UpstreamError
from llm.tests.test_client_chat import HALF, said
from magnet.tests.scripted_answers import ANSWER
from plugins.contracts import FinishReason


async def test_a_date_to_wait_for_is_kept(model_of, scripted):
    text, _ = await said(model_of("rate-limited-until"))

    first, second = scripted.calls
    assert text == ANSWER
    assert 0.9 <= second.at - first.at < 4


@pytest.mark.parametrize("identifier", ["odd-frames", "two-line-frame", "gzipped"])
async def test_odd_and_right_streams_are_taken(model_of, identifier):
    text, last = await said(model_of(identifier))

    assert (text, last.finish_reason) == (ANSWER, FinishReason.STOP)


async def test_a_huge_frame_is_taken_quickly(model_of):
    started = time.monotonic()

    text, _ = await said(model_of("huge-frame"))

    assert text == "ä" * 300_000
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("identifier", ["promises-too-much", "cut-in-frame", "broken-bytes"])
async def test_the_part_that_came_is_kept_as_an_incomplete_answer(model_of, identifier, scripted):
    text, last = await said(model_of(identifier))

    text.encode()  # valid UTF-8
    assert text.startswith(HALF)
    assert last.finish_reason is FinishReason.PROVIDER_CUT
    assert last.usage is not None
    assert last.usage.estimated
    assert len(scripted.calls) == 1


@pytest.mark.parametrize("identifier", ["error-as-answer", "broken-json"])
async def test_what_is_no_stream_is_a_clear_error_without_the_vendors_words(model_of, identifier, scripted):
    with pytest.raises(UpstreamError) as caught:
        await said(model_of(identifier))

    assert caught.value.status == 502
    assert "sk-body" not in f"{caught.value}"
    assert len(scripted.calls) == 1
