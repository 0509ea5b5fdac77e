"""What happened and what runs now: jobs, schedules, runs with their events, traces with spans, usage."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.models import TimestampedModel, WorkspaceScopedModel
from core.queue import Queue
from core.schedules import BadCron, UnknownZone, next_run
from core.states import StatefulModel, Transitions
from observability.choices import (
    Grain,
    JobStatus,
    ObservabilityLevel,
    Operation,
    Outcome,
    RunKind,
    RunStatus,
    ScheduleStatus,
    SpanStatus,
)


class Job(StatefulModel, WorkspaceScopedModel, TimestampedModel):
    """Long work as a row: what it is about, how far it is, who holds it, why it ended."""

    TRANSITIONS: ClassVar[Transitions] = {
        JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
        JobStatus.RUNNING: frozenset({JobStatus.PENDING, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}),
        JobStatus.SUCCEEDED: frozenset(),
        JobStatus.FAILED: frozenset({JobStatus.PENDING}),
        JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
    }

    kind = models.CharField(_("kind"), max_length=50)
    title = models.CharField(_("title"), max_length=300)
    status = models.CharField(_("status"), max_length=20, choices=JobStatus.choices, default=JobStatus.PENDING)
    task = models.CharField(max_length=100)
    queue = models.CharField(max_length=20, choices=[(queue.value, queue.value) for queue in Queue])
    subject_id = models.UUIDField(null=True, blank=True)
    progress_done = models.PositiveIntegerField(_("done"), default=0)
    progress_total = models.PositiveIntegerField(_("of"), default=0)
    progress_unit = models.CharField(_("unit"), max_length=30, blank=True)
    reason_code = models.CharField(_("reason code"), max_length=50, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    lost_leases = models.PositiveSmallIntegerField(_("lost leases"), default=0)
    lease_token = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(_("lease ends"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("heartbeat"), null=True, blank=True)
    available_at = models.DateTimeField(_("not before"), default=timezone.now)
    published_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    key_id = models.UUIDField(null=True, blank=True)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["workspace", "status", "-id"], name="observability_job_by_status"),
            models.Index(fields=["subject_id", "-id"], name="observability_job_by_subject"),
            models.Index(
                fields=["status", "available_at"],
                condition=Q(status__in=["pending", "running"]),
                name="observability_job_open",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Schedule(WorkspaceScopedModel, TimestampedModel):
    """Work that comes back: when it is due, who holds it, how it went the last time.

    Without a workspace it is the platform's own, and `objects` never shows it. The token rises with each hand-out, so
    that a message that comes twice runs once.
    """

    workspace = models.ForeignKey(  # type: ignore[assignment]  # the only one that may be empty
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", editable=False, null=True, blank=True
    )
    name = models.CharField(_("name"), max_length=100, editable=False)
    cron = models.CharField(
        _("cron"), max_length=100, blank=True, help_text=_("Minute, hour, day, month, weekday: 30 2 * * * is 02:30.")
    )
    zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        help_text=_("A name such as Europe/Paris."),
    )
    is_enabled = models.BooleanField(_("on"), default=True, help_text=_("Switched off, it runs on request only."))
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True)
    status = models.CharField(
        _("state"), max_length=10, choices=ScheduleStatus.choices, default=ScheduleStatus.IDLE, editable=False
    )
    token = models.PositiveIntegerField(default=0, editable=False)
    lost = models.PositiveSmallIntegerField(default=0, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(_("last run"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)
    outcome = models.CharField(_("result"), max_length=10, choices=Outcome.choices, blank=True)
    count = models.PositiveIntegerField(_("count"), default=0)
    error = models.CharField(_("error"), max_length=300, blank=True)
    runs_total = models.PositiveBigIntegerField(_("runs so far"), default=0)
    failures_total = models.PositiveBigIntegerField(_("failures so far"), default=0)

    class Meta(WorkspaceScopedModel.Meta):
        verbose_name = _("schedule")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], nulls_distinct=False, name="observability_schedule_once"
            )
        ]
        indexes = [models.Index(fields=["status", "next_run_at"], name="observability_schedule_due")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        if not self.cron:
            return
        try:
            next_run(self.cron, self.zone, timezone.now())
        except UnknownZone as error:
            raise ValidationError({"zone": ValidationError(str(error), code="invalid")}) from error
        except BadCron as error:
            raise ValidationError({"cron": ValidationError(str(error), code="invalid")}) from error


class Trace(WorkspaceScopedModel):
    """The tree of one run, or of one call outside of any."""

    name = models.CharField(_("name"), max_length=200)
    kind = models.CharField(_("kind"), max_length=50)
    status = models.CharField(_("status"), max_length=10, choices=SpanStatus.choices, default=SpanStatus.OK)
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)
    attributes = models.JSONField(default=dict, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["-id"]
        indexes = [models.Index(fields=["workspace", "-id"], name="observability_trace_newest")]

    def __str__(self) -> str:
        return self.name


class Span(WorkspaceScopedModel):
    """A step of a trace. Attribute names follow OpenTelemetry's `gen_ai.*`."""

    trace = models.ForeignKey(Trace, on_delete=models.CASCADE, related_name="spans")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")
    name = models.CharField(max_length=200)
    operation = models.CharField(max_length=30, choices=Operation.choices)
    status = models.CharField(max_length=10, choices=SpanStatus.choices, default=SpanStatus.OK)
    error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    duration_ms = models.FloatField(default=0)
    attributes = models.JSONField(default=dict, blank=True)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["started_at", "id"]

    def __str__(self) -> str:
        return self.name


class Run(StatefulModel, WorkspaceScopedModel, TimestampedModel):
    """One execution of a tool, through any door. `answer` is the whole answer object once it is closed.

    capture: at `none`, input, content, answer and events are emptied soon after the end; emptied_at says when.
    """

    TRANSITIONS: ClassVar[Transitions] = {
        RunStatus.RUNNING: frozenset(
            {RunStatus.COMPLETED, RunStatus.INCOMPLETE, RunStatus.FAILED, RunStatus.CANCELLED}
        ),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.INCOMPLETE: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }

    kind = models.CharField(_("kind"), max_length=20, choices=RunKind.choices)
    target_id = models.UUIDField()
    target_slug = models.CharField(_("tool"), max_length=100)
    variant = models.PositiveIntegerField(_("variant"))
    variant_id = models.UUIDField()
    status = models.CharField(_("status"), max_length=20, choices=RunStatus.choices, default=RunStatus.RUNNING)
    finish_reason = models.CharField(_("finish reason"), max_length=30, blank=True)
    resolution = models.CharField(_("resolution"), max_length=20, blank=True)
    input = models.JSONField(_("input"), default=dict)
    content = models.TextField(_("content"), blank=True)
    answer = models.JSONField(null=True, blank=True)
    problem = models.JSONField(null=True, blank=True)
    model = models.CharField(_("model"), max_length=200, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    key_id = models.UUIDField(null=True, blank=True)
    capture = models.CharField(
        _("kept"),
        max_length=10,
        choices=ObservabilityLevel.choices,
        default=ObservabilityLevel.METADATA,
        db_default=ObservabilityLevel.METADATA.value,
    )
    emptied_at = models.DateTimeField(_("emptied"), null=True, blank=True)
    trace = models.ForeignKey(Trace, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    last_seq = models.PositiveIntegerField(default=0)
    process = models.CharField(max_length=100, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["workspace", "-id"], name="observability_run_newest"),
            models.Index(fields=["lease_expires_at"], condition=Q(status="running"), name="observability_run_open"),
            models.Index(
                fields=["finished_at"],
                condition=Q(capture="none", emptied_at__isnull=True),
                name="observability_run_to_empty",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.target_slug} @{self.variant}"


class RunEvent(WorkspaceScopedModel):
    """An event of a run as its stream tells it; `seq` rises by one from 1."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    event = models.CharField(max_length=40)
    data = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["run", "seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="observability_one_event_per_seq")]

    def __str__(self) -> str:
        return f"{self.seq} {self.event}"


class UsageRecord(WorkspaceScopedModel):
    """Tokens and time of one call of a model, by the model that really replied.

    target_kind, target_slug: the tool of the run, or the kind of work, that it was spent for. rolled_up: it is counted
    in UsageRollup; from then on it does not change.
    """

    trace = models.ForeignKey(Trace, on_delete=models.SET_NULL, null=True, blank=True, related_name="usage")
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="usage")
    operation = models.CharField(_("operation"), max_length=30, choices=Operation.choices)
    provider_type = models.CharField(_("provider type"), max_length=30)
    provider_slug = models.CharField(_("provider"), max_length=100)
    model_slug = models.CharField(_("model"), max_length=100)
    model_identifier = models.CharField(_("replied"), max_length=200)
    input_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cached_input_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(_("estimated"), default=False)
    cost = models.DecimalField(_("cost"), max_digits=14, decimal_places=8, null=True, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    duration_ms = models.FloatField(_("duration (ms)"), default=0)
    status = models.CharField(_("status"), max_length=10, choices=SpanStatus.choices, default=SpanStatus.OK)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    key_id = models.UUIDField(null=True, blank=True)
    target_kind = models.CharField(_("kind of work"), max_length=50, blank=True, default="", db_default="")
    target_slug = models.CharField(_("tool"), max_length=100, blank=True, default="", db_default="")
    created_at = models.DateTimeField(_("time"), default=timezone.now)
    rolled_up = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["workspace", "-id"], name="observability_usage_newest"),
            models.Index(
                fields=["workspace", "created_at"], condition=Q(rolled_up=False), name="observability_usage_tail"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.model_slug}"


class UsageRollup(WorkspaceScopedModel):
    """Usage of one hour or day (UTC), added up for each combination of who, what and how it ended.

    user_id and key_id are plain ids: the sums outlive people and keys. unpriced: calls without a known price.
    latency_buckets, latency_counts: a sketch of the durations, as `observability.usage.latency` reads it.
    """

    grain = models.CharField(max_length=4, choices=Grain.choices)
    start = models.DateTimeField()
    operation = models.CharField(max_length=30, choices=Operation.choices)
    provider_slug = models.CharField(max_length=100)
    model_slug = models.CharField(max_length=100)
    target_kind = models.CharField(max_length=50, blank=True)
    target_slug = models.CharField(max_length=100, blank=True)
    key_id = models.UUIDField(null=True, blank=True)
    user_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=SpanStatus.choices)
    currency = models.CharField(max_length=3)
    calls = models.PositiveBigIntegerField(default=0)
    estimated = models.PositiveBigIntegerField(default=0)
    unpriced = models.PositiveBigIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cached_input_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    duration_ms = models.FloatField(default=0)
    latency_buckets = ArrayField(models.SmallIntegerField(), default=list)
    latency_counts = ArrayField(models.BigIntegerField(), default=list)

    class Meta(WorkspaceScopedModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "workspace", "grain", "start", "operation", "provider_slug", "model_slug", "target_kind",
                    "target_slug", "key_id", "user_id", "status", "currency",
                ],
                nulls_distinct=False,
                name="observability_rollup_once",
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.grain} {self.start:%Y-%m-%d %H:%M} {self.model_slug}"


from observability.budget_models import Budget, BudgetPeriod, Reservation  # noqa: E402, F401  # Django looks here
