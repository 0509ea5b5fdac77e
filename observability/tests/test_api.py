"""Jobs, runs and traces over HTTP: who sees what, lists, streams, cancelling."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from observability.choices import JobStatus, Operation, RunStatus
from observability.models import Job, Run, RunEvent, Trace
from observability.runs import live
from observability.tests.engines import Script
from observability.tests.factories import JobFactory, RunFactory
from observability.tracing import TraceRecorder, recording, span

LISTS = ["jobs", "runs", "traces"]
EVERYTHING = [
    ("get", "jobs/{}/"),
    ("get", "jobs/{}/events"),
    ("post", "jobs/{}/cancel"),
    ("post", "jobs/{}/retry"),
    ("get", "runs/{}/"),
    ("get", "runs/{}/events"),
    ("post", "runs/{}/cancel"),
    ("get", "traces/{}/"),
]


def login(membership: Membership) -> APIClient:
    client = APIClient()
    client.force_login(membership.user)
    return client


def member(role: Role, like: Membership | None = None) -> Membership:
    return MembershipFactory(role=role, **({"workspace": like.workspace} if like else {}))


def job_of(membership: Membership, **values) -> Job:
    return JobFactory(workspace=membership.workspace, **values)


def run_of(membership: Membership, **values) -> Run:
    """A finished run that this member asked for."""
    values = {"status": RunStatus.COMPLETED, "content": "25 days.", "answer": {"content": "25 days."}, **values}
    return RunFactory(workspace=membership.workspace, user=membership.user, **values)


def trace_of(membership: Membership) -> Trace:
    recorder = TraceRecorder("rag handbook-qa", "rag_tool", membership.workspace_id, membership.user_id)
    with recording(recorder), span("retrieve", Operation.RETRIEVAL) as outer:
        outer.set(results=3)
        with span("embeddings mini", Operation.EMBEDDINGS):
            pass
    return recorder.save()


def make(kind: str, membership: Membership) -> Job | Run | Trace:
    return {"jobs": job_of, "runs": run_of, "traces": trace_of}[kind](membership)


def path(template: str, row: object) -> str:
    return f"/api/v1/{template.format(row.pk if hasattr(row, 'pk') else row)}"


@pytest.mark.django_db
class TestAccess:
    @pytest.mark.parametrize("verb, template", EVERYTHING)
    def test_nothing_is_open_without_credentials(self, verb, template):
        row = make(template.split("/")[0], member(Role.OPERATOR))

        assert getattr(APIClient(), verb)(path(template, row)).status_code == 401

    @pytest.mark.parametrize("verb, template", EVERYTHING)
    def test_rows_of_another_workspace_do_not_exist(self, verb, template):
        row = make(template.split("/")[0], member(Role.OPERATOR))
        stranger = login(member(Role.ADMIN))

        answer = getattr(stranger, verb)(path(template, row))

        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"

    @pytest.mark.parametrize("verb, template", EVERYTHING)
    @pytest.mark.parametrize("reference", [uuid.uuid4(), "no-id", "%00"])
    def test_what_does_not_exist_is_404(self, verb, template, reference):
        assert getattr(login(member(Role.ADMIN)), verb)(path(template, reference)).status_code == 404

    @pytest.mark.parametrize("kind", LISTS)
    def test_lists_hold_the_callers_workspace_only(self, kind):
        mine = member(Role.OPERATOR)
        row = make(kind, mine)
        make(kind, member(Role.OPERATOR))

        answer = login(mine).get(f"/api/v1/{kind}/")

        assert [one["id"] for one in answer.json()["results"]] == [str(row.pk)]

    @pytest.mark.parametrize("kind", ["runs", "traces"])
    def test_a_user_sees_their_own_and_a_viewer_all(self, kind):
        user = member(Role.USER)
        colleague, viewer = member(Role.USER, user), member(Role.VIEWER, user)
        mine, theirs = make(kind, user), make(kind, colleague)

        seen = [one["id"] for one in login(user).get(f"/api/v1/{kind}/").json()["results"]]
        all_seen = [one["id"] for one in login(viewer).get(f"/api/v1/{kind}/").json()["results"]]

        assert seen == [str(mine.pk)]
        assert all_seen == [str(theirs.pk), str(mine.pk)]
        assert login(user).get(f"/api/v1/{kind}/{theirs.pk}/").status_code == 404

    def test_jobs_are_for_viewers_and_up(self):
        user = member(Role.USER)
        job = job_of(user)

        assert login(user).get("/api/v1/jobs/").status_code == 403
        assert login(member(Role.VIEWER, user)).get(path("jobs/{}/", job)).status_code == 200

    @pytest.mark.parametrize("role, may_read", [(Role.USER, True), (Role.VIEWER, False), (Role.OPERATOR, True)])
    def test_what_was_said_is_for_its_author_and_operators(self, role, may_read):
        author = member(Role.USER)
        run = run_of(author)
        reader = author if role is Role.USER else member(role, author)

        shown = login(reader).get(path("runs/{}/", run)).json()
        events = login(reader).get(path("runs/{}/events", run))
        cancelled = login(reader).post(path("runs/{}/cancel", run))

        assert shown["status"] == "completed"
        assert shown["input"] == ({"question": "How many days?"} if may_read else None)
        assert shown["answer"] == ({"content": "25 days."} if may_read else None)
        assert shown["content"] == ("25 days." if may_read else None)
        assert {events.status_code, cancelled.status_code} == ({200, 202} if may_read else {403})

    @pytest.mark.parametrize("role, status", [(Role.VIEWER, 403), (Role.OPERATOR, 200), (Role.ADMIN, 200)])
    def test_jobs_are_cancelled_by_operators(self, role, status):
        caller = member(role)
        job = job_of(caller)

        assert login(caller).post(path("jobs/{}/cancel", job)).status_code == status

        job.refresh_from_db()
        assert job.status == (JobStatus.CANCELLED if status == 200 else JobStatus.PENDING)

    @pytest.mark.parametrize(
        "scope, verb, template",
        [
            (Scope.RUN, "get", "jobs/{}/"),
            (Scope.RUN, "get", "runs/{}/"),
            (Scope.RUN, "get", "runs/{}/events"),
            (Scope.RUN, "get", "traces/{}/"),
            (Scope.READ, "post", "runs/{}/cancel"),
            (Scope.READ, "post", "jobs/{}/cancel"),
            (Scope.READ, "post", "jobs/{}/retry"),
        ],
    )
    def test_a_key_needs_the_scope(self, scope, verb, template):
        operator = member(Role.OPERATOR)
        row = make(template.split("/")[0], operator)
        key = api_key_issue(user=operator.user, workspace=operator.workspace, name="x", scopes=[scope]).text

        answer = getattr(APIClient(), verb)(path(template, row), HTTP_AUTHORIZATION=f"Bearer {key}")

        assert answer.status_code == 403

    @pytest.mark.parametrize("template", [one for verb, one in EVERYTHING if verb == "post"])
    def test_a_session_needs_the_csrf_token(self, template):
        operator = member(Role.OPERATOR)
        row = make(template.split("/")[0], operator)
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(operator.user)

        assert client.post(path(template, row)).status_code == 403


@pytest.mark.django_db
class TestLists:
    @pytest.mark.parametrize("kind", LISTS)
    def test_pages_follow_the_cursor_newest_first(self, kind):
        operator = member(Role.OPERATOR)
        made = [str(make(kind, operator).pk) for _ in range(5)]
        client = login(operator)

        seen, url = [], f"/api/v1/{kind}/?limit=2"
        while url:
            page = client.get(url).json()
            assert len(page["results"]) <= 2
            seen += [one["id"] for one in page["results"]]
            url = page["next"]

        assert seen == made[::-1]

    @pytest.mark.parametrize("kind", LISTS)
    def test_the_number_of_queries_does_not_grow(self, kind, django_assert_max_num_queries):
        operator = member(Role.OPERATOR)
        for _ in range(8):
            make(kind, operator)
        client = login(operator)

        with django_assert_max_num_queries(5):
            assert len(client.get(f"/api/v1/{kind}/").json()["results"]) == 8

    @pytest.mark.parametrize(
        "query, found",
        [
            ("status=failed", ["b"]),
            ("status__in=failed,succeeded", ["b", "c"]),
            ("kind=sync", ["c"]),
            ("search=bet", ["b"]),
            ("ordering=created_at", ["a", "b", "c"]),
            ("created_at__gte=2100-01-01T00:00:00Z", []),
        ],
    )
    def test_jobs_are_filtered(self, query, found):
        operator = member(Role.OPERATOR)
        job_of(operator, title="alpha")
        job_of(operator, title="beta", status=JobStatus.FAILED)
        job_of(operator, title="cesium", status=JobStatus.SUCCEEDED, kind="sync")

        answer = login(operator).get(f"/api/v1/jobs/?{query}")

        assert sorted(one["title"][0] for one in answer.json()["results"]) == sorted(found)

    @pytest.mark.parametrize("kind", LISTS)
    @pytest.mark.parametrize("query", ["colour=red", "ordering=workspace", "workspace=x", "started_at__gte=never"])
    def test_what_is_no_filter_is_a_400(self, kind, query):
        assert login(member(Role.OPERATOR)).get(f"/api/v1/{kind}/?{query}").status_code == 400

    def test_runs_are_filtered(self):
        operator = member(Role.OPERATOR)
        wanted = run_of(operator, resolution="not_answered")
        run_of(operator, resolution="answered")
        RunFactory(workspace=operator.workspace)

        found = login(operator).get("/api/v1/runs/?status=completed&resolution=not_answered").json()["results"]

        assert [one["id"] for one in found] == [str(wanted.pk)]
        assert "answer" not in found[0]


@pytest.mark.django_db
class TestDetails:
    def test_a_job_says_how_far_it_is_and_why_it_ended(self):
        operator = member(Role.OPERATOR)
        job = job_of(
            operator,
            status=JobStatus.FAILED,
            progress_done=3,
            progress_total=9,
            progress_unit="passages",
            reason_code="encrypted",
            reason="The file asks for a password.",
            attempts=1,
        )

        shown = login(operator).get(path("jobs/{}/", job)).json()

        assert shown["progress"] == {"done": 3, "total": 9, "unit": "passages"}
        assert (shown["status"], shown["reason_code"], shown["attempts"]) == ("failed", "encrypted", 1)
        assert shown["reason"] == "The file asks for a password."

    def test_a_trace_holds_its_spans_as_a_tree(self):
        operator = member(Role.OPERATOR)

        shown = login(operator).get(path("traces/{}/", trace_of(operator))).json()

        outer, inner = shown["spans"]
        assert (outer["name"], outer["parent_id"], outer["attributes"]["results"]) == ("retrieve", None, 3)
        assert (inner["name"], inner["parent_id"]) == ("embeddings mini", outer["id"])

    def test_a_failed_job_is_retried(self):
        operator = member(Role.OPERATOR)
        job = job_of(operator, status=JobStatus.FAILED, attempts=3)

        answer = login(operator).post(path("jobs/{}/retry", job))

        assert (answer.status_code, answer.json()["status"], answer.json()["attempts"]) == (202, "pending", 0)
        assert login(operator).post(path("jobs/{}/retry", job)).status_code == 409

    def test_a_finished_job_cannot_be_cancelled(self):
        operator = member(Role.OPERATOR)

        answer = login(operator).post(path("jobs/{}/cancel", job_of(operator, status=JobStatus.SUCCEEDED)))

        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def events_of(text: bytes) -> list[tuple[int, str, dict]]:
    found = []
    for frame in text.decode().split("\n\n"):
        if frame and not frame.startswith(":"):
            number, name, data = frame.split("\n")
            found.append((int(number[4:]), name[7:], json.loads(data[6:])))
    return found


async def read(response) -> list[tuple[int, str, dict]]:
    return events_of(b"".join([chunk async for chunk in response]))


@pytest.mark.usefixtures("transactional_db")
class TestStreams:
    @pytest.fixture(autouse=True)
    async def no_connection_is_left(self):
        yield
        await live.shutdown()
        await sync_to_async(connections.close_all)()

    @pytest.fixture
    async def operator(self) -> Membership:
        return await sync_to_async(member)(Role.OPERATOR)

    @pytest.fixture
    async def client(self, operator) -> AsyncClient:
        client = AsyncClient()
        await client.aforce_login(operator.user)
        return client

    async def test_a_live_run_is_followed_and_resumed(self, operator, client):
        run = await sync_to_async(run_of)(operator, status=RunStatus.RUNNING, answer=None)
        await live.start(run, Script(pause=0.05).work(run))

        whole, rest = await asyncio.gather(
            self.events(client, run), self.events(client, run, headers={"Last-Event-ID": "3"})
        )

        assert [number for number, _, _ in whole] == [1, 2, 3, 4, 5]
        assert rest == whole[3:]
        assert whole[-1][1] == "run.completed"
        assert whole[-1][2]["answer"] == (await Run._unscoped.aget(pk=run.pk)).answer
        assert await self.events(client, run) == whole

    async def events(self, client, run, **options) -> list[tuple[int, str, dict]]:
        response = await client.get(path("runs/{}/events", run), **options)
        assert response["Content-Type"] == "text/event-stream"
        return await read(response)

    async def test_a_finished_run_is_replayed(self, operator, client):
        run = await sync_to_async(run_of)(operator)
        for seq, name in ((1, "run.started"), (2, "run.completed")):
            await RunEvent._unscoped.acreate(workspace_id=run.workspace_id, run=run, seq=seq, event=name, data={})

        assert await self.events(client, run) == [(1, "run.started", {}), (2, "run.completed", {})]
        assert await self.events(client, run, headers={"Last-Event-ID": "1"}) == [(2, "run.completed", {})]

    async def test_cancelling_ends_the_stream_with_its_text_kept(self, operator, client):
        run = await sync_to_async(run_of)(operator, status=RunStatus.RUNNING, answer=None)
        await live.start(run, Script(hangs=True).work(run))
        reader = asyncio.create_task(self.events(client, run))
        await asyncio.sleep(0.2)

        answer = await client.post(path("runs/{}/cancel", run))

        assert answer.status_code == 202
        last = (await reader)[-1]
        assert (last[1], last[2]["answer"]["status"]) == ("run.cancelled", "cancelled")
        assert (await Run._unscoped.aget(pk=run.pk)).content == "Twenty five days."

    async def test_nobody_elsewhere_reads_or_cancels_a_live_run(self, operator):
        run = await sync_to_async(run_of)(operator, status=RunStatus.RUNNING, answer=None)
        await live.start(run, Script(hangs=True).work(run))
        stranger = AsyncClient()
        await stranger.aforce_login((await sync_to_async(member)(Role.ADMIN)).user)

        for verb, template in (("get", "runs/{}/events"), ("post", "runs/{}/cancel"), ("get", "runs/{}/")):
            answer = await getattr(stranger, verb)(path(template, run), headers={"Last-Event-ID": "1"})
            assert answer.status_code == 404
            assert b"Twenty" not in answer.content

        await asyncio.sleep(0.05)
        assert (await Run._unscoped.aget(pk=run.pk)).status == RunStatus.RUNNING
        assert run.pk in live._live

    async def test_head_does_not_wait_for_the_end_of_a_stream(self, operator, client):
        job = await sync_to_async(job_of)(operator)
        response = await client.head(path("jobs/{}/events", job))

        assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
        assert not response.streaming

    async def test_the_progress_of_a_job_is_told_until_its_end(self, operator, client, monkeypatch):
        monkeypatch.setattr("observability.api.views.POLL_SECONDS", 0.02)
        job = await sync_to_async(job_of)(operator)
        rows = Job._unscoped.filter(pk=job.pk)
        response = await client.get(path("jobs/{}/events", job))
        reader = asyncio.create_task(read(response))
        steps = (
            {"status": JobStatus.RUNNING, "started_at": timezone.now()},
            {"progress_done": 2},
            {"status": JobStatus.SUCCEEDED},
        )
        for step in steps:
            await asyncio.sleep(0.3)
            await rows.aupdate(**step)

        events = await reader

        assert [number for number, _, _ in events] == [1, 2, 3, 4]
        assert [name for _, name, _ in events] == ["job.progress"] * 3 + ["job.finished"]
        assert [data["status"] for _, _, data in events] == ["pending", "running", "running", "succeeded"]
        assert events[2][2]["progress"]["done"] == 2

    async def test_the_stream_of_a_deleted_job_ends(self, operator, client, monkeypatch):
        monkeypatch.setattr("observability.api.views.POLL_SECONDS", 0.02)
        job = await sync_to_async(job_of)(operator)
        reader = asyncio.create_task(read(await client.get(path("jobs/{}/events", job))))
        await asyncio.sleep(0.3)
        await Job._unscoped.filter(pk=job.pk).adelete()

        assert [name for _, name, _ in await reader] == ["job.progress"]

    async def test_streams_of_other_processes_runs_end_when_this_one_does(self, operator, client, monkeypatch):
        run = await sync_to_async(run_of)(operator, status=RunStatus.RUNNING, answer=None)
        job = await sync_to_async(job_of)(operator)
        readers = [
            asyncio.create_task(read(await client.get(path(template, row))))
            for template, row in (("runs/{}/events", run), ("jobs/{}/events", job))
        ]
        await asyncio.sleep(0.2)

        monkeypatch.setattr("core.lifecycle.stopping", lambda: True)

        events = await asyncio.wait_for(asyncio.gather(*readers), 5)
        assert [len(one) for one in events] == [0, 1]


def test_the_age_of_a_trace_is_measured_in_utc():
    assert TraceRecorder("a", "b", uuid.uuid4()).started_at - datetime.now(UTC) < timedelta(seconds=1)
