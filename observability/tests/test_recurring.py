"""What is deleted after RETENTION_DAYS, and what stays."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.schedules import first_id_of
from core.valkey import sync_client
from observability.models import Job, RunEvent, Span, Trace, UsageRecord
from observability.recurring import WORK
from observability.runs.store import stream_key
from observability.tests.factories import JobFactory, RunFactory

pytestmark = pytest.mark.django_db


def id_of_age(days: int):
    return first_id_of(timezone.now() - timedelta(days=days))


def test_old_jobs_that_ended_go_and_open_ones_stay():
    JobFactory(pk=id_of_age(91), status="succeeded")
    kept = {JobFactory(pk=id_of_age(92), status="running").pk, JobFactory(pk=id_of_age(89), status="failed").pk}

    assert WORK["old-jobs"].work() == 1
    assert set(Job._unscoped.values_list("pk", flat=True)) == kept


def test_nothing_goes_when_everything_is_kept(settings):
    settings.RETENTION_DAYS = 0
    JobFactory(pk=id_of_age(9000), status="succeeded")

    assert WORK["old-jobs"].work() == 0


def test_old_traces_go_with_their_spans_and_leave_runs_and_usage():
    run = RunFactory()
    trace = Trace(pk=id_of_age(91), workspace=run.workspace, name="t", kind="k", started_at=timezone.now())
    trace.save()
    Span(workspace=run.workspace, trace=trace, name="s", operation="run", started_at=timezone.now()).save()
    usage = UsageRecord(workspace=run.workspace, trace=trace, run=run, operation="chat", model_slug="m")
    usage.save()
    run.trace = trace
    run.save()

    assert WORK["old-traces"].work() == 1

    run.refresh_from_db()
    usage.refresh_from_db()
    assert (run.trace, usage.trace, usage.run, Span._unscoped.count()) == (None, None, run, 0)


def test_old_events_go_but_for_the_one_that_ends_a_replay():
    run = RunFactory(status="completed")
    names = ["run.started", "message.delta", "run.completed"]
    for seq, name in enumerate(names, 1):
        RunEvent(pk=id_of_age(100 - seq), workspace=run.workspace, run=run, seq=seq, event=name, data={}).save()
    young = RunEvent(workspace=run.workspace, run=RunFactory(), seq=1, event="run.started", data={})
    young.save()

    assert WORK["old-run-events"].work() == 2
    assert set(RunEvent._unscoped.values_list("event", flat=True)) == {"run.completed", "run.started"}


def test_streams_that_would_stay_for_ever_get_an_end():
    client, forgotten, live = sync_client(), stream_key(RunFactory().pk), stream_key(RunFactory().pk)
    for key in (forgotten, live):
        client.xadd(key, {"event": "run.started"})
    client.expire(live, 7)

    assert WORK["forgotten-streams"].work() == 1
    assert client.ttl(forgotten) > 100
    assert client.ttl(live) <= 7
    client.delete(forgotten, live)
