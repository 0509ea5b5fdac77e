"""The base of every endpoint that starts a run: as JSON, or as server-sent events; once for each Idempotency-Key."""

import time
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

from django.db import connections
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from core.access import Permission, Principal
from core.api.idempotency import REPLAYED, StillRunning, attempt_of, claimed, keep
from core.api.sse import EventStreamRenderer, stream_response, wants_stream
from core.api.views import AsyncAPIView, missing
from core.api.watch import Watch
from core.limits import Rate
from core.sharing import SharedModel, find_visible
from observability.choices import RunStatus
from observability.models import Run
from observability.runs import live
from observability.runs.events import EventName
from observability.runs.work import Started, StopReason

# Ends that nobody asked for, and so no answer to repeat: the same request runs anew.
BROKEN_OFF = frozenset({"process_lost", StopReason.SHUTDOWN, StopReason.LOST, StopReason.GONE})


class RunView(AsyncAPIView):
    """Subclasses name the form of their body, the kind of tool and how a run of one starts."""

    permissions: ClassVar[dict[str, Permission | None]] = {"post": Permission.RUN}
    rate = Rate.RUNS
    once = True
    calls_models = frozenset({"post"})
    renderer_classes = (JSONRenderer, EventStreamRenderer)
    form: ClassVar[type[BaseSerializer[Any]]]
    tools: ClassVar[type[SharedModel]]

    def prepare(self, tool: Any, data: dict[str, Any]) -> Started:
        """Save a run of this tool, with the checked body."""
        raise LookupError(f"{type(self).__name__} prepares nothing.")

    def begin(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Save the run, and give the connection back: it would be held to the end of the answer."""
        self.begun = self.save_run(request, *args, **kwargs)
        connections.close_all()

    async def run(self, request: Request) -> Any:
        """Execute, and answer in the form that was asked for."""
        run_id, started = self.begun
        if started is not None:
            await live.start(started.run, started.work)
        headers = {} if started is not None else {REPLAYED: "true"}
        if wants_stream(request, self.stream):
            return stream_response(live.follow(run_id), headers, watch=self.watch(run_id), released=True)
        return Response(await self.waited_for(run_id), headers=headers)

    def watch(self, run_id: uuid.UUID) -> Watch:
        return Watch(
            self.require_reader, EventName.RUN_FAILED.value, {"run_id": str(run_id)}, known_at=time.monotonic()
        )

    async def waited_for(self, run_id: uuid.UUID) -> dict[str, Any]:
        """The answer object of a run. Raises MagnetError when its caller lost the right to it while they waited."""
        watch = self.watch(run_id)
        answer = await live.wait(run_id)
        refused = await watch.late_refusal()
        if refused is not None:
            raise refused
        return answer

    def require_reader(self) -> None:
        """Raises MagnetError when the caller's credentials end, or the tool is not shared with them any more."""
        self._tool(self.renewed_principal(), str(self.tool_id))

    def save_run(self, request: Request, *args: Any, **kwargs: Any) -> tuple[uuid.UUID, Started | None]:
        """The run that the checked body asks for, as `begun_once` answers it."""
        tool = self._tool(self.principal, kwargs["id"])
        self.tool_id = tool.pk
        form = self.form(data=request.data)
        form.is_valid(raise_exception=True)
        self.stream = form.validated_data["stream"]
        return self.begun_once(request, lambda: self.prepare(tool, form.validated_data))

    def _tool(self, principal: Principal, reference: str) -> SharedModel:
        """The tool of this id or slug that the caller may run. Raises NotFound."""
        found: SharedModel | None = find_visible(self.tools, principal, reference)
        if found is None:
            raise missing(self.tools, reference)
        return found

    def begun_once(self, request: Request, prepare: Callable[[], Started]) -> tuple[uuid.UUID, Started | None]:
        """The run that this request saves, or the id alone of the one that the same request was answered with."""
        attempt = attempt_of(request)
        if attempt is None:
            started = prepare()
            return started.run.pk, started
        with claimed(attempt) as stored:
            if stored is not None and stored.run_id is not None and self._is_answered(stored.run_id):
                return stored.run_id, None
            started = prepare()
            keep(attempt, run_id=started.run.pk)
        return started.run.pk, started

    def _is_answered(self, run_id: uuid.UUID) -> bool:
        """Whether this run's end is what the caller gets again. Raises StillRunning before there is one."""
        run: Run | None = Run.objects.for_workspace(self.principal.workspace_id).filter(pk=run_id).first()
        if run is None:
            return False
        if run.status == RunStatus.RUNNING:
            raise StillRunning
        failed_here = run.problem is not None and run.problem["status"] >= 500
        return not failed_here and run.finish_reason not in BROKEN_OFF
