"""Jobs, runs and traces."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Prefetch
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core import lifecycle
from core.access import Permission, Principal
from core.api.sse import EventStreamRenderer, last_event_id, stream_response
from core.api.views import AsyncAPIView, ListRetrieve, find
from core.api.watch import Watch
from core.exceptions import PermissionRefused
from observability.api.examples import JOBS, RUNS, TRACES
from observability.api.serializers import (
    JobSerializer,
    RunDetailSerializer,
    RunSerializer,
    TraceDetailSerializer,
    TraceSerializer,
)
from observability.choices import JobStatus
from observability.models import Job, Run, Trace
from observability.plain import plain
from observability.runs import live
from observability.runs.events import EventName
from observability.runs.store import patiently
from observability.selectors import jobs_of, may_read_content, runs_of, traces_of
from observability.services import job_cancel, job_retry

POLL_SECONDS = 0.5
CHANGES = ("status", "progress", "attempts", "reason")
ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    str,
    OpenApiParameter.HEADER,
    description="The number of the last event that was seen; anything else means from the beginning.",
)


class JobViewSet(ListRetrieve):
    """Long work: what runs, how far it is, why it ended."""

    examples = JOBS
    model = Job
    follows_job = False
    permissions = {"cancel": Permission.INGEST, "retry": Permission.INGEST}
    serializer_class = JobSerializer
    ordering = ("-id",)
    ordering_fields = ("created_at",)
    search_fields = ("title", "reason")
    filterset_fields = {
        "status": ["exact", "in"],
        "kind": ["exact"],
        "subject_id": ["exact"],
        "created_at": ["gte", "lte"],
    }

    def queryset_for(self, principal: Principal) -> Any:
        return jobs_of(principal)

    @extend_schema(request=None)
    def cancel(self, request: Request, id: str) -> Response:
        """Cancel a pending or running job."""
        return self.answer(job_cancel(self.get_object(), principal=self.principal))

    @extend_schema(request=None, responses={202: JobSerializer})
    def retry(self, request: Request, id: str) -> Response:
        """Start a failed or cancelled job anew."""
        return self.answer(job_retry(self.get_object(), principal=self.principal), status=202)


class JobEventsView(AsyncAPIView):
    """The progress of a job as server-sent events."""

    examples = JOBS
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    @extend_schema(operation_id="jobs_events", responses={(200, "text/event-stream"): OpenApiTypes.STR})
    async def get(self, request: Request, id: str) -> Any:
        """An event `job.progress` at each change, and `job.finished` at the end."""
        job = await sync_to_async(self._find)(id, self.principal)
        watch = Watch(lambda: self._find(id, self.renewed_principal()), "job.stream_failed", {"job_id": str(job.pk)})
        return stream_response(job_events(self.principal, job.pk), watch=watch)

    def _find(self, id: str, principal: Principal) -> Job:
        found: Job = find(jobs_of(principal), id)
        return found


@dataclass(frozen=True)
class JobEvent:
    """A change of a job. The numbers count from 1 in each stream: a job's events are not kept."""

    seq: int
    name: str
    data: dict[str, Any]


async def job_events(principal: Principal, job_id: uuid.UUID) -> AsyncIterator[JobEvent]:
    """What the job looks like now, and again at each change, until it has ended or is deleted."""
    seq, last = 0, None
    while not lifecycle.stopping():
        shown = await patiently(_shown, principal, job_id)
        if shown is None:
            return
        ended = shown["status"] in ENDED
        seen = {name: shown[name] for name in CHANGES}
        if seen != last:
            last, seq = seen, seq + 1
            yield JobEvent(seq, "job.finished" if ended else "job.progress", shown)
        if ended:
            return
        await asyncio.sleep(POLL_SECONDS)


def _shown(principal: Principal, job_id: uuid.UUID) -> dict[str, Any] | None:
    job = jobs_of(principal).filter(pk=job_id).first()
    return None if job is None else plain(JobSerializer(job).data)


class RunViewSet(ListRetrieve):
    """Executions of tools. A viewer sees that they happened; what was said is for their author and operators."""

    examples = RUNS
    model = Run
    permissions = {"list": Permission.READ_OWN, "retrieve": Permission.READ_OWN}
    ordering = ("-id",)
    ordering_fields = ("started_at", "duration_ms")
    search_fields = ("target_slug",)
    filterset_fields = {
        "status": ["exact", "in"],
        "kind": ["exact"],
        "target_slug": ["exact"],
        "resolution": ["exact"],
        "started_at": ["gte", "lte"],
    }

    def get_serializer_class(self) -> Any:
        return RunDetailSerializer if self.action == "retrieve" else RunSerializer

    def queryset_for(self, principal: Principal) -> Any:
        rows = runs_of(principal)
        return rows if self.action == "retrieve" else rows.defer("answer")


class _OneRunView(AsyncAPIView):
    examples = RUNS
    permissions = {"get": Permission.READ_OWN, "post": Permission.RUN}

    def find(self, id: str, principal: Principal) -> Run:
        """The run, if the caller may read what it says."""
        found: Run = find(runs_of(principal), id)
        if not may_read_content(found, principal):
            raise PermissionRefused("What a run says is for its author and for operators.")
        return found


class RunEventsView(_OneRunView):
    """The events of a run: live, or replayed when it is over."""

    renderer_classes = (JSONRenderer, EventStreamRenderer)

    @extend_schema(
        operation_id="runs_events",
        parameters=[LAST_EVENT_ID],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def get(self, request: Request, id: str) -> Any:
        """Server-sent events behind `Last-Event-ID`; the last one carries the whole answer."""
        run = await sync_to_async(self.find)(id, self.principal)
        watch = Watch(
            lambda: self.find(id, self.renewed_principal()), EventName.RUN_FAILED.value, {"run_id": str(run.pk)}
        )
        return stream_response(live.follow(run.pk, last_event_id(request)), watch=watch)


class RunCancelView(_OneRunView):
    follows_job = False

    @extend_schema(operation_id="runs_cancel", request=None, responses={202: RunSerializer})
    async def post(self, request: Request, id: str) -> Response:
        """Cancel a run; what it has said so far is kept."""
        run = await sync_to_async(self.find)(id, self.principal)
        await live.cancel(run.pk)
        return Response(RunSerializer(run, context={"view": self}).data, status=202)


class TraceViewSet(ListRetrieve):
    """What a run did, step by step."""

    examples = TRACES
    model = Trace
    permissions = {"list": Permission.READ_OWN, "retrieve": Permission.READ_OWN}
    ordering = ("-id",)
    ordering_fields = ("started_at", "duration_ms")
    search_fields = ("name",)
    filterset_fields = {"kind": ["exact"], "status": ["exact"], "started_at": ["gte", "lte"]}

    def get_serializer_class(self) -> Any:
        return TraceDetailSerializer if self.action == "retrieve" else TraceSerializer

    def queryset_for(self, principal: Principal) -> Any:
        rows = traces_of(principal)
        runs = Prefetch("runs", queryset=Run.objects.for_workspace(principal.workspace_id).only("id", "trace_id"))
        return rows.prefetch_related("spans", runs) if self.action == "retrieve" else rows
