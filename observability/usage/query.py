"""What a report of usage is asked: a period in a time zone, steps of time, groups, filters. Plain data, no database."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _

from core.exceptions import FieldError, InvalidInput

HOUR = timedelta(hours=1)
LONGEST = timedelta(days=3660)
YEARS = range(1970, 9000)
"""Outside of them the months and hours around a moment may be no dates any more."""
MAX_STEPS = 2200  # three months by the hour


class Interval(TextChoices):
    """A step of time in a report; days, weeks (from Monday) and months begin at midnight of its zone."""

    HOUR = "hour", _("Hour")
    DAY = "day", _("Day")
    WEEK = "week", _("Week")
    MONTH = "month", _("Month")


class GroupBy(TextChoices):
    """What a report tells apart."""

    MODEL = "model", _("Model")
    TOOL = "tool", _("Tool")
    KEY = "key", _("API key")
    USER = "user", _("Person")
    PROVIDER = "provider", _("Provider")
    OPERATION = "operation", _("Operation")
    STATUS = "status", _("Status")


class Preset(StrEnum):
    """Periods that end now, but for the months."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"
    THIS_MONTH = "this-month"
    LAST_MONTH = "last-month"


PRESET_DAYS = {Preset.WEEK: 7, Preset.MONTH: 30, Preset.QUARTER: 90}
STEP_HOURS = {Interval.HOUR: 1, Interval.DAY: 24, Interval.WEEK: 168, Interval.MONTH: 672}


@dataclass(frozen=True)
class Period:
    """From `start` until before `end`, both full hours in UTC; `zone` says where its days begin."""

    start: datetime
    end: datetime
    zone: ZoneInfo

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def previous(self) -> "Period":
        """The period of the same length just before."""
        return replace(self, start=self.start - self.length, end=self.start)

    def default_interval(self) -> Interval:
        """Steps of which a chart has some ten to ninety."""
        if self.length <= timedelta(days=3):
            return Interval.HOUR
        return Interval.DAY if self.length <= timedelta(days=92) else Interval.WEEK


@dataclass(frozen=True)
class UsageQuery:
    """What is asked of one workspace's usage. filters: texts by group, all of which hold; only: no groups but these."""

    workspace_id: uuid.UUID
    period: Period
    interval: Interval | None = None
    group_by: GroupBy | None = None
    filters: Mapping[GroupBy, str] = field(default_factory=dict)
    only: Sequence[str] | None = None


def steps_of(period: Period, interval: Interval) -> list[datetime]:
    """The beginnings of all steps that a period touches, in its zone."""
    if interval is Interval.HOUR:
        return [(period.start + n * HOUR).astimezone(period.zone) for n in range(int(period.length / HOUR))]
    day = period.start.astimezone(period.zone).date()
    if interval is Interval.WEEK:
        day -= timedelta(days=day.weekday())
    elif interval is Interval.MONTH:
        day = day.replace(day=1)
    found = []
    while (step := datetime.combine(day, time(), period.zone)) < period.end:
        found.append(step)
        day = _next(day, interval)
    return found


def _next(day: date, interval: Interval) -> date:
    if interval is Interval.MONTH:
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if interval is Interval.WEEK else 1)


def zone_of(name: str) -> ZoneInfo:
    """Raises InvalidInput for what is no IANA name."""
    try:
        return ZoneInfo(name or "UTC")
    except (LookupError, ValueError, OSError):
        raise refused("zone", f"'{name[:100]}' is no time zone: write a name such as Europe/Paris.") from None


def period_of(start: str, end: str, zone: ZoneInfo, now: datetime | None = None) -> Period:
    """A period by two texts, dates (the last day counts) or times; an empty start is 30 days before the end, an empty
    end now. Widened to full hours, since usage is kept by the hour. Raises InvalidInput."""
    until = _ceiling(_moment("to", end, zone, last=True) if end else now or timezone.now())
    since = _floor(_moment("from", start, zone) if start else until - timedelta(days=30))
    if since >= until:
        raise refused("from", "The period must begin before it ends.")
    if until - since > LONGEST:
        raise refused("from", "A period has ten years at most.")
    return Period(since, until, zone)


def preset_period(preset: Preset, zone: ZoneInfo, now: datetime | None = None) -> Period:
    """One of the offered periods. Those of days begin at midnight, today being the last of them."""
    now = now or timezone.now()
    today = now.astimezone(zone).date()
    if preset is Preset.DAY:
        return Period(_ceiling(now) - timedelta(hours=24), _ceiling(now), zone)
    if preset is Preset.THIS_MONTH:
        return Period(_midnight(today.replace(day=1), zone), _ceiling(now), zone)
    if preset is Preset.LAST_MONTH:
        last = today.replace(day=1) - timedelta(days=1)
        return Period(_midnight(last.replace(day=1), zone), _midnight(today.replace(day=1), zone), zone)
    first = today - timedelta(days=PRESET_DAYS[preset] - 1)
    return Period(_midnight(first, zone), _ceiling(now), zone)


def filters_of(parameters: Mapping[str, str]) -> dict[GroupBy, str]:
    """The filters among the parameters of an address. Raises InvalidInput for text that no row can hold."""
    found = {one: parameters[one.value] for one in GroupBy if one.value in parameters}
    for one, text in found.items():
        if "\x00" in text:
            raise refused(one.value, "Text may not hold the character NUL.")
    return found


def check_steps(query: UsageQuery) -> None:
    """Raises InvalidInput when the period has more steps than an answer may."""
    if query.interval is not None and query.period.length / HOUR / STEP_HOURS[query.interval] > MAX_STEPS:
        raise refused("interval", f"More than {MAX_STEPS} steps: take longer ones, or a shorter period.")


def _moment(name: str, text: str, zone: ZoneInfo, *, last: bool = False) -> datetime:
    try:
        day = parse_date(text)
        found = None if day else parse_datetime(text)
        if day is not None:
            found = _midnight(day + timedelta(days=1) if last else day, zone)
        elif found is not None:
            found = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is not None and found.year in YEARS:
        return found
    raise refused(name, f"'{text[:100]}' is neither a date (2026-11-28) nor a time (2026-11-28T09:00:00Z).")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return _floor(datetime.combine(day, time(), zone).astimezone(UTC))


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _ceiling(moment: datetime) -> datetime:
    floor = _floor(moment)
    return floor if floor == moment else floor + HOUR


def refused(name: str, text: str) -> InvalidInput:
    """The error that points at a parameter."""
    return InvalidInput(text, errors=[FieldError(f"/{name}", "invalid", text)])


def choice_of(kind: Any, name: str, text: str) -> Any:
    """The member of a set of choices that a text names; None for an empty text. Raises InvalidInput."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(one.value for one in kind)
        raise refused(name, f"'{text[:100]}' is not known. Known: {known}.") from None
