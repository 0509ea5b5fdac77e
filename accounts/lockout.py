"""Locks against guessing: passwords, API keys and reset links are counted in one place, in PostgreSQL.

A count belongs to what was tried (an account, a key's id) and to the address that tried it: nobody can lock somebody
else's account or key from afar. An account or key that does not exist is counted like one that does, so that a lock
tells nothing. See docs/adr/0010.
"""

import ipaddress
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from accounts.models import FailedTries
from core.compiled import Compiled, Statement, execute
from core.exceptions import MagnetError

MAX_TRIES = 9
"""So many wrong tries are answered; what comes after them is refused until the lock ends, right or wrong."""

WINDOW = timedelta(minutes=15)
"""How long wrong tries are remembered, and how long a lock lasts."""

SWEEP_ROWS = 100


class TooManyTries(MagnetError):
    """Refused without a look at the secret. `retry_after` says for how many seconds."""

    code = "locked_out"
    status = 429
    title = "Too many requests"

    def __init__(self, seconds: float) -> None:
        minutes = max(1, math.ceil(seconds / 60))
        super().__init__(
            _("Too many wrong tries from your address."),
            hint=_("Try again in %(minutes)d min, or ask an admin to lift the lock.") % {"minutes": minutes},
            retry_after=max(1, math.ceil(seconds)),
        )


def network_of(request: HttpRequest | None) -> str:
    """What counts as one address: of IPv6 the /64 that one line gets, since its owner can take any address in it."""
    text = "" if request is None else str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def subject_of(kind: FailedTries.Kind, identifier: str) -> str:
    """How a tried account or key is remembered. People type passwords into the wrong field: only a hash is kept."""
    return salted_hmac(f"accounts.lockout.{kind.value}", identifier.strip().lower(), algorithm="sha256").hexdigest()


def is_locked(tries: FailedTries) -> bool:
    return tries.count >= MAX_TRIES and tries.ends_at > timezone.now()


def _seconds_left(tries: FailedTries) -> float:
    return (tries.ends_at - timezone.now()).total_seconds()


@transaction.atomic
def count_try(kind: FailedTries.Kind, identifier: str, network: str) -> bool:
    """Count a try before its secret is looked at, so that many at once are not more than many in a row.

    Answers whether a lock begins when this one is wrong, too. Raises TooManyTries during a lock. A right secret calls
    `forget_tries`.
    """
    tries = _row(kind, identifier, network)
    if is_locked(tries):
        raise TooManyTries(_seconds_left(tries))
    return _count(tries)


@transaction.atomic
def count_failure(kind: FailedTries.Kind, identifier: str, network: str) -> bool:
    """Count a try that has failed, for secrets that are too long to be guessed by many tries at once.

    Answers whether a lock begins with it.
    """
    tries = _row(kind, identifier, network)
    if is_locked(tries):
        return False
    return _count(tries)


def refuse_locked(kind: FailedTries.Kind, identifier: str, network: str) -> None:
    """Raises TooManyTries while this is locked for this address; counts nothing."""
    require_unlocked(*execute(tries_of(kind, identifier, network)))


def tries_of(kind: FailedTries.Kind, identifier: str, network: str) -> Statement[list[FailedTries]]:
    """What `require_unlocked` has to know, for who asks the database for more at once."""
    return _tries.filled(kind=kind.value, subject=subject_of(kind, identifier), network=network)


def require_unlocked(found: Sequence[FailedTries]) -> None:
    """Raises TooManyTries when these tries are locked."""
    for tries in found:
        if is_locked(tries):
            raise TooManyTries(_seconds_left(tries))


@Compiled
def _tries(kind: Any, subject: Any, network: Any) -> QuerySet[FailedTries]:
    return FailedTries.objects.filter(kind=kind, subject=subject, network=network)


def _row(kind: FailedTries.Kind, identifier: str, network: str) -> FailedTries:
    now = timezone.now()
    tries, is_new = FailedTries.objects.select_for_update().get_or_create(
        kind=kind, subject=subject_of(kind, identifier), network=network, defaults={"ends_at": now + WINDOW}
    )
    if is_new:
        _sweep()
    elif tries.ends_at <= now:
        tries.count, tries.ends_at = 0, now + WINDOW
    return tries


def _count(tries: FailedTries) -> bool:
    """The last try that is answered begins the lock, which is the answer here."""
    tries.count += 1
    if tries.count == MAX_TRIES:
        tries.ends_at = timezone.now() + WINDOW
    tries.save(update_fields=["count", "ends_at"])
    return tries.count == MAX_TRIES


def _sweep() -> None:
    """Counts that have ended go, a few with each new one."""
    ended = FailedTries.objects.select_for_update(skip_locked=True).filter(ends_at__lt=timezone.now())
    FailedTries.objects.filter(pk__in=[row.pk for row in ended.order_by("ends_at")[:SWEEP_ROWS]]).delete()


def forget_tries(kind: FailedTries.Kind, identifier: str, network: str) -> None:
    """The secret was right: what was counted before it does not count any more."""
    FailedTries.objects.filter(kind=kind, subject=subject_of(kind, identifier), network=network).delete()


def lift_locks(kind: FailedTries.Kind, identifier: str) -> int:
    """Forget the tries from all addresses; answers how many addresses were locked."""
    found = FailedTries.objects.filter(kind=kind, subject=subject_of(kind, identifier))
    locked = found.filter(count__gte=MAX_TRIES, ends_at__gt=timezone.now()).count()
    found.delete()
    return locked
