"""Whoever loses the right to something loses what is open and what waits, too."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import OperationalError, connections
from django.test import AsyncClient

from accounts.models import Membership, User
from accounts.services import api_key_issue, api_key_revoke, membership_remove
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.api import watch
from observability.choices import JobStatus, RunStatus
from observability.leases import USER_LEFT, run_leased
from observability.models import Job
from observability.runs import live
from observability.services import job_retry
from observability.tests.engines import Script
from observability.tests.factories import JobFactory
from observability.tests.test_api import job_of, member, path, read, run_of

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
async def no_connection_is_left():
    yield
    await live.shutdown()
    await sync_to_async(connections.close_all)()


@pytest.fixture(autouse=True)
def checked_often(monkeypatch):
    monkeypatch.setattr(watch, "CHECK_SECONDS", 0.1)


@pytest.fixture
async def operator() -> Membership:
    return await sync_to_async(member)(Role.OPERATOR)


class KeyClient(AsyncClient):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    async def get(self, path: str):
        return await super().get(path, headers={"Authorization": f"Bearer {self.key}"})


async def key_client(membership: Membership):
    issued = await sync_to_async(api_key_issue)(user=membership.user, workspace=membership.workspace, name="x")
    return issued.key, KeyClient(issued.text)


async def session_client(membership: Membership) -> AsyncClient:
    client = AsyncClient()
    await client.aforce_login(membership.user)
    return client


async def open_streams(client: AsyncClient, membership: Membership):
    """A run and a job that do not end, with a reader each."""
    run = await sync_to_async(run_of)(membership, status=RunStatus.RUNNING, answer=None)
    await live.start(run, Script(hangs=True).work(run))
    job = await sync_to_async(job_of)(membership)
    paths = (path("runs/{}/events", run), path("jobs/{}/events", job))
    readers = [asyncio.create_task(read(await client.get(one))) for one in paths]
    await asyncio.sleep(0.5)
    assert not any(reader.done() for reader in readers)
    return run, readers


async def told_at_the_end(readers) -> list[tuple[str, int, str]]:
    streams = await asyncio.wait_for(asyncio.gather(*readers), 5)
    for stream in streams:
        assert [seq for seq, _, _ in stream] == list(range(1, len(stream) + 1))
    return [(name, data["problem"]["status"], data["problem"]["code"]) for _, name, data in (s[-1] for s in streams)]


async def test_streams_end_with_an_error_when_their_key_is_revoked_and_other_keys_live(operator):
    key, client = await key_client(operator)
    other = (await key_client(operator))[1]
    _, readers = await open_streams(client, operator)
    others = (await open_streams(other, operator))[1]

    await sync_to_async(api_key_revoke)(key)

    assert await told_at_the_end(readers) == [
        ("run.failed", 401, "not_authenticated"),
        ("job.stream_failed", 401, "not_authenticated"),
    ]
    assert (await client.get("/api/v1/jobs/")).status_code == 401
    assert (await other.get("/api/v1/jobs/")).status_code == 200
    assert not any(reader.done() for reader in others)
    for reader in others:
        reader.cancel()


async def switch_off(membership: Membership) -> None:
    await User.objects.filter(pk=membership.user_id).aupdate(is_active=False)


async def log_out(membership: Membership) -> None:
    await Session.objects.all().adelete()


async def change_password(membership: Membership) -> None:
    user = await User.objects.aget(pk=membership.user_id)
    user.set_password("another horse battery")
    await user.asave()


async def remove(membership: Membership) -> None:
    await sync_to_async(membership_remove)(membership)


async def degrade(membership: Membership) -> None:
    await Membership.objects.filter(pk=membership.pk).aupdate(role=Role.USER)


@pytest.mark.parametrize(
    "loss, statuses",
    [(switch_off, [401, 401]), (log_out, [401, 401]), (change_password, [401, 401]), (remove, [404, 404])],
)
async def test_streams_of_a_session_end_with_the_right_to_them(operator, loss, statuses):
    client = await session_client(operator)
    _, readers = await open_streams(client, operator)

    await loss(operator)

    assert [status for _, status, _ in await told_at_the_end(readers)] == statuses


async def test_a_lower_role_ends_what_it_may_not_see(operator):
    client = await session_client(operator)
    _, (own_run, job) = await open_streams(client, operator)

    await degrade(operator)

    assert await told_at_the_end([job]) == [("job.stream_failed", 403, "permission_denied")]
    assert not own_run.done()
    own_run.cancel()


async def test_a_stream_bears_a_short_silence_of_the_database_and_no_long_one(operator, monkeypatch):
    client = await session_client(operator)
    _, readers = await open_streams(client, operator)

    async def away(*_):
        raise OperationalError("away")

    monkeypatch.setattr(watch, "in_database", away)
    await asyncio.sleep(0.4)
    assert not any(reader.done() for reader in readers)
    monkeypatch.setattr(watch, "UNKNOWN_SECONDS", 0.1)

    assert [status for _, status, _ in await told_at_the_end(readers)] == [503, 503]


@pytest.mark.parametrize("loss", [switch_off, remove])
async def test_work_of_somebody_who_left_does_not_begin(operator, loss):
    job = await sync_to_async(JobFactory)(
        workspace=operator.workspace, created_by=operator.user, status=JobStatus.PENDING
    )
    await loss(operator)
    begun: list[object] = []

    await sync_to_async(run_leased)(job.pk, begun.append)

    job = await Job._unscoped.aget(pk=job.pk)
    assert begun == []
    assert (job.status, job.reason_code, job.reason, job.attempts) == ("cancelled", "user_left", USER_LEFT, 0)


def test_who_retries_a_job_stands_for_it():
    gone = MembershipFactory(user__is_active=False)
    colleague = MembershipFactory(workspace=gone.workspace, role=Role.OPERATOR)
    job = JobFactory(workspace=gone.workspace, created_by=gone.user, status=JobStatus.CANCELLED)
    job_retry(job, principal=principal_of(colleague))
    begun: list[object] = []
    run_leased(job.pk, begun.append)

    assert len(begun) == 1
    assert Job._unscoped.get(pk=job.pk).status == JobStatus.SUCCEEDED
