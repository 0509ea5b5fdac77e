"""Values as people read them in lists: numbers with units, progress, times with their zone."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

EMPTY = "—"
NBSP = "\u00a0"  # keeps a number and its unit on one line
BYTES = ("bytes", "KB", "MB", "GB")


def duration(milliseconds: float | None) -> str:
    """`812 ms`, `3.2 s`, `4 min 5 s`."""
    if milliseconds is None:
        return EMPTY
    if milliseconds < 1000:
        return f"{milliseconds:.0f}{NBSP}ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f}{NBSP}s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s".replace(" ", NBSP)


def size(count: int | None) -> str:
    """`812 bytes`, `3.4 MB` (powers of 1,000)."""
    if count is None:
        return EMPTY
    value, unit = float(count), 0
    while value >= 1000 and unit < len(BYTES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f}{NBSP}{BYTES[unit]}" if unit == 0 else f"{value:.1f}{NBSP}{BYTES[unit]}"


def money(amount: Decimal | None, currency: str) -> str:
    """`0.00231 USD`, with the decimals that say something; an unknown amount is no zero."""
    if amount is None:
        return EMPTY
    text = f"{amount:,.8f}".rstrip("0")
    whole, _point, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}{NBSP}{currency}"


def money_about(amount: Decimal | None, currency: str) -> str:
    """`8.92 USD`, `0.00231 USD`: two decimals, of less than one the first three digits that say something."""
    if amount is None:
        return EMPTY
    small = amount and abs(amount) < 1
    return money(round(amount, max(2, 2 - amount.adjusted()) if small else 2), currency)


def plain_amount(text: str) -> str:
    """`2.50` for `2.500000`: without the zeros at the end that say nothing, with two decimals at least."""
    whole, point, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}" if point and decimals.isdecimal() else text


def meter(share: str, most: str, label: str) -> SafeString:
    """A bar over its figures."""
    return format_html(
        '<span class="mg-meter"><progress class="mg-bar" value="{}" max="{}" aria-label="{}"></progress>'
        '<span class="mg-muted mg-small">{}</span></span>',
        share,
        most,
        label,
        label.strip(),
    )


def number(count: int | None) -> str:
    """`12,345`."""
    return EMPTY if count is None else f"{count:,}"


def moment(when: datetime | None) -> str:
    """`23 Nov 2026, 21:49 UTC`; where there is no room, it breaks between the date and the time."""
    if when is None:
        return EMPTY
    local = timezone.localtime(when)
    return f"{date_format(local, 'j M Y, H:i')} {local.tzname()}".replace(" ", NBSP).replace(f",{NBSP}", ", ")


def progress(done: int, total: int, unit: str = "") -> SafeString:
    """A bar with its figures for those who cannot see it."""
    if not total:
        return format_html("{}", number(done) if done else EMPTY)
    label = _("%(done)s of %(total)s %(unit)s") % {"done": number(done), "total": number(total), "unit": unit}
    return meter(str(done), str(total), label)


def clipped(text: Any, length: int = 100) -> str:
    shown = str(text or "")
    return shown if len(shown) <= length else f"{shown[:length].rstrip()}…"
