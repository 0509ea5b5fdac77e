"""The sweep: what lost its holder is taken up again, in one process or after another was killed."""

import asyncio
import json
import os
import signal
import time
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.utils import timezone

from core.queue import Queue
from core.valkey import sync_client
from observability import tasks
from observability.choices import JobStatus, Operation, RunStatus
from observability.job_kinds import JOB_KINDS, JobKind
from observability.leases import LeasedJob, run_leased
from observability.models import Job, Run, RunEvent, UsageRecord
from observability.runs import store
from observability.runs.spent import note_of
from observability.sweeper import SweepResult, sweep
from observability.tests.child import child
from observability.tests.factories import JobFactory, RunFactory
from observability.tracing import TraceRecorder, UsageEntry

AGO = timedelta(seconds=31)


@pytest.fixture(autouse=True)
def empty_queues():
    keys = [queue.value for queue in Queue]
    sync_client().delete(*keys)
    yield
    sync_client().delete(*keys)


def messages() -> list[str]:
    """The ids of the jobs that the messages in the default queue are for."""
    found = [json.loads(raw) for raw in sync_client().lrange("default", 0, -1)]
    return [json.loads(one["headers"]["argsrepr"].replace("'", '"'))[0] for one in found]


def dead_job(**values) -> Job:
    values = {"attempts": 1, "lease_token": 1, "lease_expires_at": timezone.now() - AGO, **values}
    return JobFactory(status=JobStatus.RUNNING, **values)


@pytest.mark.django_db
class TestJobs:
    def test_a_job_whose_lease_ended_is_queued_again_uncounted(self, django_capture_on_commit_callbacks):
        job = dead_job()
        JobFactory(status=JobStatus.RUNNING, lease_expires_at=timezone.now() + AGO)

        with django_capture_on_commit_callbacks(execute=True):
            result = sweep()

        job.refresh_from_db()
        assert result == SweepResult(requeued=1, published=0, runs_closed=0)
        assert (job.status, job.attempts, job.lost_leases, job.lease_expires_at) == (JobStatus.PENDING, 0, 1, None)
        assert messages() == [str(job.pk)]

    def test_the_zombie_of_a_swept_job_cannot_end_it(self):
        job = JobFactory()

        def work(_leased: LeasedJob) -> None:
            Job._unscoped.update(lease_expires_at=timezone.now() - AGO)
            assert sweep().requeued == 1

        run_leased(job.pk, work)

        job.refresh_from_db()
        assert (job.status, job.finished_at) == (JobStatus.PENDING, None)
        run_leased(job.pk, lambda _leased: None)
        job.refresh_from_db()
        assert (job.status, job.attempts, job.lease_token) == (JobStatus.SUCCEEDED, 1, 2)

    def test_after_twenty_lost_workers_it_fails_with_the_reason(self):
        last, over = dead_job(lost_leases=19), dead_job(lost_leases=20)

        sweep()

        last.refresh_from_db()
        over.refresh_from_db()
        assert (last.status, last.lost_leases) == (JobStatus.PENDING, 20)
        assert (over.status, over.reason_code) == (JobStatus.FAILED, "worker_lost")

    def test_a_dead_job_that_was_cancelled_ends_cancelled(self):
        job = dead_job(cancel_requested_at=timezone.now())

        sweep()

        job.refresh_from_db()
        assert job.status == JobStatus.CANCELLED

    def test_one_that_cannot_be_ended_does_not_hold_up_the_others(self, monkeypatch):
        def on_failed(_job: Job) -> None:
            raise RuntimeError

        monkeypatch.setitem(JOB_KINDS._items, "broken", JobKind("broken", "Broken", on_failed))
        broken, other = dead_job(kind="broken", lost_leases=20), dead_job()

        assert sweep().requeued == 1

        broken.refresh_from_db()
        other.refresh_from_db()
        assert (broken.status, broken.lost_leases) == (JobStatus.RUNNING, 20)
        assert other.status == JobStatus.PENDING

    def test_a_job_without_a_message_is_published_after_half_a_minute(self, django_capture_on_commit_callbacks):
        forgotten = JobFactory(published_at=timezone.now() - AGO, available_at=timezone.now() - AGO)
        JobFactory()
        JobFactory(published_at=timezone.now() - AGO, available_at=timezone.now() + AGO)

        with django_capture_on_commit_callbacks(execute=True):
            assert sweep().published == 1
            assert sweep().published == 0

        assert messages() == [str(forgotten.pk)]

    def test_a_long_queue_does_not_grow_by_waiting(self, django_capture_on_commit_callbacks):
        jobs = [JobFactory(published_at=timezone.now() - AGO * n, available_at=timezone.now() - AGO) for n in (1, 2, 3)]
        sync_client().rpush("default", *[b"a message"] * 3)

        with django_capture_on_commit_callbacks(execute=True):
            assert sweep().published == 0
            sync_client().rpop("default")
            assert sweep().published == 1

        assert sync_client().llen("default") == 3
        jobs[2].refresh_from_db()
        assert jobs[2].published_at > timezone.now() - AGO

    def test_the_task_of_the_tick_sweeps(self):
        job = dead_job()

        tasks.tick()

        job.refresh_from_db()
        assert job.status == JobStatus.PENDING


@pytest.mark.django_db
class TestRuns:
    def test_a_run_of_a_dead_process_is_incomplete_with_its_text(self):
        run = RunFactory(content="Twenty", last_seq=2, lease_expires_at=timezone.now() - AGO)
        alive = RunFactory()

        assert sweep().runs_closed == 1
        assert sweep().runs_closed == 0

        run.refresh_from_db()
        alive.refresh_from_db()
        event = RunEvent._unscoped.get(run=run)
        assert (run.status, run.finish_reason, run.content) == (RunStatus.INCOMPLETE, "process_lost", "Twenty")
        assert (event.seq, event.event, event.data["answer"]) == (3, "run.completed", run.answer)
        assert (run.answer["status"], run.answer["content"]) == ("incomplete", "Twenty")
        assert alive.status == RunStatus.RUNNING

    def test_what_other_processes_were_told_in_its_last_second_is_kept(self):
        run = RunFactory(last_seq=1, lease_expires_at=timezone.now() - AGO)
        for told in ([(1, "stored "), (2, "Twenty ")], [(3, "five")], [(5, "never")]):
            data = [{"run_id": str(run.pk), "seq": seq, "text": text} for seq, text in told]
            entry = {"events": json.dumps([(one["seq"], "message.delta", one) for one in data])}
            sync_client().xadd(store.stream_key(run.pk), entry, id=f"{told[-1][0]}-0")

        sweep()

        run.refresh_from_db()
        assert (run.content, run.last_seq) == ("Twenty five", 4)
        assert list(RunEvent._unscoped.filter(run=run).values_list("seq", flat=True)) == [2, 3, 4]
        sync_client().delete(store.stream_key(run.pk))

    def test_what_it_had_spent_and_not_stored_is_booked_once(self):
        run = RunFactory(lease_expires_at=timezone.now() - AGO)
        recorder = TraceRecorder("model quick", run.kind, run.workspace_id, user_id=run.user_id, target="quick")
        for tokens in (5, 70):
            recorder.usage.append(UsageEntry(Operation.CHAT, "openai", "o", "quick", "quick-1", input_tokens=tokens))
        noted = note_of(recorder)
        recorder.usage.pop()
        recorder.save_usage(run)
        async_to_sync(store.publish)(run.pk, [], noted)

        sweep()

        run.refresh_from_db()
        booked = UsageRecord._unscoped.filter(run=run).order_by("input_tokens")
        assert list(booked.values_list("input_tokens", "model_identifier", "trace_id", "target_slug")) == [
            (tokens, "quick-1", recorder.id, "quick" if tokens == 5 else run.target_slug) for tokens in (5, 70)
        ]
        assert (run.status, run.trace_id) == (RunStatus.INCOMPLETE, recorder.id)
        assert note_of(TraceRecorder("nothing", run.kind, run.workspace_id)) == b""


@pytest.mark.usefixtures("transactional_db")
class TestKilledProcesses:
    def test_a_killed_worker_loses_its_job_when_the_lease_ends(self):
        job = JobFactory()
        with child("hold", job.pk, LEASE="1") as worker:
            time.sleep(1.5)
            assert sweep().requeued == 0, "its heart still beats"
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(5)
            began = time.monotonic()
            while not sweep().requeued:
                assert time.monotonic() - began < 3
                time.sleep(0.05)

        job.refresh_from_db()
        assert (job.status, job.attempts, job.lost_leases, job.progress_done) == (JobStatus.PENDING, 0, 1, 3)
        run_leased(job.pk, lambda _leased: None)
        job.refresh_from_db()
        assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)

    def test_a_worker_that_is_told_to_end_gives_its_job_back_at_once(self):
        job = JobFactory()
        with child("hold", job.pk) as worker:
            worker.terminate()
            assert worker.wait(10) == -signal.SIGTERM

        job.refresh_from_db()
        assert (job.status, job.attempts, job.lost_leases) == (JobStatus.PENDING, 0, 0)
        assert messages() == [str(job.pk)]

    def test_a_stopped_worker_that_wakes_up_writes_nothing(self):
        job = JobFactory()
        with child("hold", job.pk, LEASE="1") as worker:
            worker.send_signal(signal.SIGSTOP)
            time.sleep(1.2)
            assert sweep().requeued == 1
            run_leased(job.pk, lambda _leased: None)
            worker.send_signal(signal.SIGCONT)
            assert worker.wait(10) == 0

        job.refresh_from_db()
        assert (job.status, job.attempts, job.lease_token) == (JobStatus.SUCCEEDED, 1, 2)

    @pytest.mark.parametrize("valkey", ["there", "away"])
    def test_a_reader_of_a_killed_process_gets_its_text_and_an_end(self, valkey, monkeypatch):
        run = RunFactory()
        if valkey == "away":
            monkeypatch.setattr(store, "async_client", _nowhere)
            monkeypatch.setattr(store, "sync_client", _nowhere_sync)

        async def read(process) -> list:
            seen = []
            async for event in store.follow_stored(run.pk, 0):
                seen.append(event)
                if len(seen) == 60:
                    process.kill()
                    process.wait(5)
                    await Run._unscoped.filter(pk=run.pk).aupdate(lease_expires_at=timezone.now() - AGO)
                    assert (await sync_to_async(sweep)()).runs_closed == 1
            await sync_to_async(connections.close_all)()
            return seen

        with child("run", run.pk) as process:
            seen = asyncio.run(asyncio.wait_for(read(process), 20))

        run.refresh_from_db()
        assert seen[-1].name == "run.completed"
        assert seen[-1].data["answer"]["status"] == run.status == RunStatus.INCOMPLETE
        assert [event.seq for event in seen[:-1]] == list(range(1, len(seen)))
        assert run.content == "word " * (run.content.count("word"))
        assert run.content.count("word") >= 20


def _nowhere():
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return redis.asyncio.Redis(port=1, retry=Retry(NoBackoff(), 0))


def _nowhere_sync():
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
