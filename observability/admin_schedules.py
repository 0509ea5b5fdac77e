"""Monitor: the platform's schedules, for superusers."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.access import Permission, Principal, Role
from core.admin import WorkspaceModelAdmin
from core.admin_display import EMPTY, NBSP, clipped, duration, moment, number
from core.exceptions import MagnetError
from core.schedules import RECURRING, Recurring
from observability.choices import Outcome, ScheduleStatus
from observability.models import Schedule
from observability.selectors import system_schedules
from observability.services import schedule_run, schedule_update

RESULT_COLOURS = {
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "danger",
    ScheduleStatus.QUEUED: "info",
    ScheduleStatus.RUNNING: "info",
    "": "default",
}


@admin.register(Schedule)
class ScheduleAdmin(WorkspaceModelAdmin):
    """Work that comes back. Superusers only: it is the platform's, and works for all workspaces."""

    list_display = ("title", "plan", "next_run", "is_enabled", "last_run", "result", "outcome_text")
    list_filter = ("outcome", "is_enabled")
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("run_now", "switch_on", "switch_off")
    fields = (
        "about",
        "cron",
        "zone",
        "is_enabled",
        "next_run",
        "last_run",
        "result_text",
        "dealt_with",
        "took",
        "problem",
    )
    readonly_fields = ("about", "next_run", "last_run", "result_text", "dealt_with", "took", "problem")
    add_permission = None
    delete_permission = None
    empty_title = _("No schedules yet")
    empty_text = _("The platform adds its own at its next start.")

    # Who

    def _allows(self, request: HttpRequest, permission: Permission | None) -> bool:
        return permission is not None and request.user.is_active and bool(getattr(request.user, "is_superuser", False))

    def principal(self, request: HttpRequest) -> Principal:
        """A superuser without any membership has no principal, and these rows no workspace."""
        found: Principal | None = self.admin_site.principal(request)
        return found or Principal(request.user, uuid.UUID(int=0), "", Role.USER)

    def workspace_rows(self, principal: Principal) -> QuerySet[Schedule]:
        return system_schedules() if principal.user.is_superuser else Schedule.objects.none()

    # Writes

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return schedule_update(obj, principal=principal, values=values)

    def has_run_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, Permission.ADMINISTER)

    @admin.action(description=_("Run now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._each(request, queryset, lambda row: schedule_run(row, principal=self.principal(request)), _("Queued"))

    @admin.action(description=_("Switch on"), permissions=["run"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description=_("Switch off"), permissions=["run"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Schedule], on: bool) -> None:
        def act(row: Schedule) -> Any:
            schedule_update(row, principal=self.principal(request), values={"is_enabled": on})

        self._each(request, queryset, act, _("Switched on") if on else _("Switched off"))

    def _each(self, request: HttpRequest, rows: Any, act: Callable[[Schedule], Any], done: Any) -> None:
        """Act on each row; what is refused is said by name, and the others go on."""
        count = 0
        for row in rows:
            try:
                act(row)
                count += 1
            except MagnetError as refusal:
                messages.warning(request, f"{self.title(row)}: {refusal}")
        if count:
            messages.success(request, f"{done}: {count}")

    # What people see

    @display(description=_("Schedule"), ordering="name")
    def title(self, obj: Schedule) -> str:
        work = _work_of(obj)
        return str(work.title) if work else obj.name

    @display(description=_("What it does"))
    def about(self, obj: Schedule) -> str:
        work = _work_of(obj)
        return str(work.text) if work else EMPTY

    @display(description=_("When"), ordering="cron")
    def plan(self, obj: Schedule) -> str:
        return f"{obj.cron} ({obj.zone})".replace(" ", NBSP) if obj.cron else str(_("every 15 s"))

    @display(description=_("Next run"), ordering="next_run_at")
    def next_run(self, obj: Schedule) -> str:
        with timezone.override(ZoneInfo(obj.zone)):
            return moment(obj.next_run_at)

    @display(description=_("Last run"), ordering="started_at")
    def last_run(self, obj: Schedule) -> str:
        return moment(obj.started_at)

    @display(description=_("Result"), ordering="outcome", label=RESULT_COLOURS)
    def result(self, obj: Schedule) -> tuple[str, Any]:
        if obj.status != ScheduleStatus.IDLE:
            return obj.status, ScheduleStatus(obj.status).label
        return obj.outcome, Outcome(obj.outcome).label if obj.outcome else _("Not yet")

    @display(description=_("Result"))
    def result_text(self, obj: Schedule) -> Any:
        """On the page of a schedule, where no label is drawn."""
        return self.result(obj)[1]

    @display(description=_("Dealt with"), ordering="count")
    def outcome_text(self, obj: Schedule) -> str:
        """In the list, what was done in which time, and what went wrong, in one column: a screen has no more room."""
        if not obj.outcome:
            return EMPTY
        done = _("%(what)s in %(time)s") % {"what": self.dealt_with(obj), "time": self.took(obj)}
        return f"{done}. {clipped(obj.error, 140)}" if obj.error else done

    @display(description=_("Dealt with"), ordering="count")
    def dealt_with(self, obj: Schedule) -> str:
        work = _work_of(obj)
        return f"{number(obj.count)} {work.unit if work else ''}".strip() if obj.outcome else EMPTY

    @display(description=_("Took"), ordering="duration_ms")
    def took(self, obj: Schedule) -> str:
        return duration(obj.duration_ms) if obj.outcome else EMPTY

    @display(description=_("Error"))
    def problem(self, obj: Schedule) -> str:
        return clipped(obj.error, 140) or EMPTY


def _work_of(schedule: Schedule) -> Recurring | None:
    return RECURRING.get(schedule.name) if schedule.name in RECURRING else None
