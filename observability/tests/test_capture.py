"""What is kept of what was said: secrets are scrubbed, and runs of the level none are emptied in time."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.valkey import sync_client
from observability import integrity
from observability.choices import ObservabilityLevel, RunStatus
from observability.models import Run, RunEvent
from observability.recurring import sweep
from observability.runs.emptying import READ_WITHIN, empty_closed
from observability.runs.store import stream_key
from observability.scrubbing import MAX_CHARACTERS, scrubbed
from observability.tests.factories import RunFactory

SAID = "the sentinel Qx7"
ANSWER = {
    "id": "r",
    "content": SAID,
    "citations": [{"quote": SAID}],
    "output": {"a": SAID},
    "usage": {"input_tokens": 3},
    "status": "completed",
    "trace_id": None,
    "odd": 5,
}


def closed(age: timedelta, **values) -> Run:
    given = {
        "status": RunStatus.COMPLETED,
        "capture": ObservabilityLevel.NONE,
        "input": {"question": SAID},
        "content": SAID,
        "answer": ANSWER,
        "problem": {"title": "Bad", "detail": SAID, "status": 502, "code": "x"},
        "finished_at": timezone.now() - age,
        **values,
    }
    run = RunFactory(**given)
    for seq, name in enumerate(["run.started", "message.delta", "run.completed"], 1):
        RunEvent(
            workspace=run.workspace, run=run, seq=seq, event=name, data={"seq": seq, "text": SAID, "answer": ANSWER}
        ).save()
    return run


@pytest.mark.django_db
def test_a_run_of_the_level_none_is_emptied_when_its_reader_had_the_time(django_capture_on_commit_callbacks):
    run = closed(READ_WITHIN + timedelta(seconds=1))
    sync_client().xadd(stream_key(run.pk), {"data": SAID})

    with django_capture_on_commit_callbacks(execute=True):
        assert empty_closed() == 1

    run.refresh_from_db()
    assert (run.input, run.content, run.problem["detail"], run.problem["code"]) == ({}, "", "Bad", "x")
    assert run.answer == {
        "id": "r", "content": "", "citations": [], "output": {}, "usage": {"input_tokens": 3}, "status": "completed",
        "trace_id": None, "odd": None,
    }  # fmt: skip
    (event,) = RunEvent._unscoped.filter(run=run)
    assert (event.event, event.data["answer"], event.data["seq"]) == ("run.completed", run.answer, 3)
    assert SAID not in f"{run.__dict__} {event.data}"
    assert run.emptied_at is not None
    assert not sync_client().exists(stream_key(run.pk))
    assert empty_closed() == 0
    Run._unscoped.filter(pk=run.pk).update(last_seq=3)
    assert list(integrity.runs()) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "age, values",
    [
        (timedelta(seconds=5), {}),
        (timedelta(days=1), {"capture": ObservabilityLevel.METADATA}),
        (timedelta(days=1), {"capture": ObservabilityLevel.FULL}),
        (timedelta(days=1), {"status": RunStatus.RUNNING}),
    ],
)
def test_all_other_runs_stay_as_they_are(age, values):
    run = closed(age, **values)

    sweep()

    run.refresh_from_db()
    assert (run.content, run.answer, run.emptied_at) == (SAID, ANSWER, None)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop1234",
        "mk_abc123_Zk83hVq2Lw9TbNf5xQ7jW",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "xoxb-123456789012-abcdef",
    ],
)
def test_what_looks_like_a_secret_is_scrubbed_wherever_it_stands(secret):
    value = {"messages": [{"parts": [{"content": f"before {secret} after"}]}], "n": 3, "none": None}

    kept = scrubbed(value)

    assert kept == {"messages": [{"parts": [{"content": "before [secret] after"}]}], "n": 3, "none": None}


@pytest.mark.parametrize(
    "text, kept",
    [
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer [secret]"),
        ("postgres://magnet:hunter2@db:5432/x", "postgres://[secret]@db:5432/x"),
        ('{"password": "hunter22", "name": "Ada"}', '{"password": "[secret]", "name": "Ada"}'),
        ("api_key=abcdef", "api_key=[secret]"),
        ("What is the risk-free rate, and who is the bearer of it?",) * 2,
        ("ask-me-anything-about-the-handbook-please",) * 2,
    ],
)
def test_texts_around_a_secret_stay(text, kept):
    assert scrubbed(text) == kept


def test_a_long_text_is_cut_behind_the_scrubbing():
    text = "x" * (MAX_CHARACTERS - 10) + " sk-proj-abcdefghijklmnop1234"

    kept = scrubbed(text)

    assert len(kept) <= MAX_CHARACTERS + 1
    assert "sk-proj" not in kept
