"""Other models answer instead of one that fails before its first word."""

import pytest

from core.database import in_database
from core.exceptions import ServiceUnavailable, UpstreamError
from core.ids import uuid7
from llm import breaker
from llm.choices import ModelKind
from llm.client import embed
from llm.exceptions import ModelLimitReached
from llm.models import Model
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_client_chat import HALF, said
from magnet.tests.scripted_answers import ANSWER
from observability.choices import SpanStatus
from observability.tracing import TraceRecorder, recording
from plugins.contracts import EmbeddingPurpose, FinishReason, ProviderFailure


@pytest.fixture
def recorder() -> TraceRecorder:
    return TraceRecorder(name="test", kind="test", workspace_id=uuid7())


@pytest.mark.parametrize("identifier", ["unauthorized", "fails-twice", "unavailable", "not-json", "error-frame-first"])
async def test_the_next_one_answers_and_is_booked(chained, scripted, recorder, identifier):
    with recording(recorder):
        text, last = await said(chained(identifier, "ok"))

    assert (text, last.model) == (ANSWER, "ok-2026")
    failed, replied = recorder.usage
    assert (failed.model_slug, failed.status, failed.output_tokens) == (identifier, SpanStatus.ERROR, 0)
    assert (replied.model_slug, replied.status, replied.output_tokens) == ("ok", SpanStatus.OK, 10)
    (span,) = recorder.spans
    assert span.attributes["gen_ai.request.model"] == "ok"
    assert span.attributes["gen_ai.response.model"] == "ok-2026"
    assert {one["model"] for one in span.attributes["magnet.failed_attempts"]} == {identifier}
    assert span.status is SpanStatus.OK


async def test_a_silent_one_is_left_for_the_next(chained, scripted):
    text, _ = await said(chained("hang", "ok", timeout_seconds=1))

    assert text == ANSWER
    assert len(scripted.calls_of("hang")) == 2


async def test_a_long_wait_is_not_waited_when_another_stands_by(chained, scripted):
    await said(chained("rate-limited", "ok"))

    assert len(scripted.calls_of("rate-limited")) == 1


async def test_a_chain_goes_on_to_its_end(chained, scripted, recorder):
    with recording(recorder):
        _, last = await said(chained("unauthorized", "not-json", "ok"))

    assert last.model == "ok-2026"
    assert [one.model_slug for one in recorder.usage] == ["unauthorized", "not-json", "ok"]


async def test_when_all_fail_the_last_one_is_named(chained):
    with pytest.raises(UpstreamError, match="Model 'not-json' of provider 'scripted'"):
        await said(chained("unauthorized", "not-json"))


async def test_nothing_is_said_twice(chained, scripted):
    text, last = await said(chained("cut", "ok"))

    assert (text, last.finish_reason) == (HALF, FinishReason.PROVIDER_CUT)
    assert scripted.calls_of("ok") == []


async def test_a_request_that_is_wrong_is_not_sent_elsewhere(chained, scripted):
    with pytest.raises(UpstreamError, match="HTTP 400"):
        await said(chained("refuses-request", "ok"))

    assert scripted.calls_of("ok") == []


async def test_an_open_breaker_costs_no_call(chained, scripted):
    model = chained("unavailable", "ok")
    for _ in range(breaker.FAILURES):
        await breaker.failed(model, ProviderFailure("overloaded", "busy"))

    text, _ = await said(model)

    assert text == ANSWER
    assert scripted.calls_of("unavailable") == []


async def test_a_full_minute_is_no_reason_to_wait_when_another_stands_by(chained, scripted):
    model = chained("ok", "echo")
    model.requests_per_minute = 1
    await said(model)

    _, last = await said(model)

    assert last.model == "echo-2026"


async def test_a_trial_asks_the_model_alone(chained, scripted):
    with pytest.raises(UpstreamError):
        await said(chained("unauthorized", "ok"), alone=True)

    assert scripted.calls_of("ok") == []


async def test_what_is_switched_off_is_passed_over(chained, scripted):
    model = chained("unauthorized", "echo", "ok")
    model.fallback.is_active = False

    _, last = await said(model)

    assert last.model == "ok-2026"


async def test_the_deadline_is_that_of_the_whole_chain(chained, scripted):
    with pytest.raises(ServiceUnavailable):
        await said(chained("hang", "ok"), deadline=0.5)

    assert scripted.calls_of("ok") == []


async def test_a_ring_that_was_stored_all_the_same_ends(chained):
    model = chained("unauthorized", "not-json")
    model.fallback.fallback = model

    with pytest.raises(UpstreamError):
        await said(model)


@pytest.mark.django_db(transaction=True)
async def test_the_fallback_is_read_when_it_is_needed(scripted, scripted_provider_row):
    def rows() -> Model:
        provider = scripted_provider_row(ProviderFactory().workspace)
        other = ModelFactory(provider=provider, identifier="ok")
        first = ModelFactory(provider=provider, identifier="unauthorized", fallback=other)
        return Model.objects.for_workspace(provider.workspace_id).select_related("provider").get(pk=first.pk)

    model = await in_database(rows)

    assert (await said(model))[1].model == "ok-2026"


# --- embeddings


async def test_vectors_come_from_the_same_model_elsewhere(chained, scripted, recorder):
    model = chained("embed", "embed", dimensions=32)
    model.requests_per_minute = 1

    with recording(recorder):
        for text in ("one", "two"):
            vectors = await embed(model, [text], purpose=EmbeddingPurpose.QUERY, deadline=5)
            assert vectors.shape == (1, 32)

    assert len(scripted.calls) == 2
    assert [one.status for one in recorder.usage] == [SpanStatus.OK, SpanStatus.ERROR, SpanStatus.OK]


async def test_another_vector_space_never_answers(chained, scripted):
    model = chained("unauthorized", "embed", dimensions=32)
    model.kind = model.fallback.kind = ModelKind.EMBEDDING

    with pytest.raises(UpstreamError, match="refuses the API key"):
        await embed(model, ["text"], purpose=EmbeddingPurpose.QUERY)

    assert scripted.calls_of("embed") == []


async def test_a_limit_without_a_fallback_is_the_callers_to_wait_for(model_of):
    model = model_of("embed", dimensions=32, requests_per_minute=1)
    await embed(model, ["text"], purpose=EmbeddingPurpose.QUERY)

    with pytest.raises(ModelLimitReached):
        await embed(model, ["text"], purpose=EmbeddingPurpose.QUERY)
