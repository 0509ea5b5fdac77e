"""Days and months of a time zone, as moments of UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from core.schedules import UnknownZone
from observability.choices import BudgetPeriodLength

__all__ = ["Period", "UnknownZone", "period_at", "zone_named"]


@dataclass(frozen=True)
class Period:
    """From starts_at on, until just before ends_at; both in UTC."""

    starts_at: datetime
    ends_at: datetime


def zone_named(name: str) -> ZoneInfo:
    """Raises UnknownZone."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise UnknownZone(f"'{name}' is not a time zone: write a name such as Europe/Paris or UTC.") from error


def period_at(moment: datetime, length: BudgetPeriodLength, zone: str) -> Period:
    """The day or month of the zone that holds this moment.

    It begins at local midnight: a day on which the clock changes has 23 or 25 hours. Where midnight itself is left out,
    the day begins with the gap's end; where it comes twice, with the first.
    """
    place = zone_named(zone)
    local = moment.astimezone(place)
    first = local.day if length == BudgetPeriodLength.DAY else 1
    starts = datetime(local.year, local.month, first)  # local midnight; the zone is put on below
    if length == BudgetPeriodLength.DAY:
        ends = starts + timedelta(days=1)
    else:
        ends = (starts + timedelta(days=32)).replace(day=1)
    # Midnight that does not exist is read with the offset before the gap, which is the gap itself.
    return Period(*(one.replace(tzinfo=place).astimezone(UTC) for one in (starts, ends)))
