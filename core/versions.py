"""Optimistic locking: a save names the version that its author saw."""

from collections.abc import Iterable
from typing import TypeVar

from django.db import transaction

from core.audit import Changes, audit, difference, snapshot
from core.exceptions import NotFound, StaleVersion
from core.models import VersionedModel

V = TypeVar("V", bound=VersionedModel)


@transaction.atomic
def save_version(
    instance: V,
    *,
    expected: int | None,
    fields: Iterable[str] | None = None,
    action: str = "update",
    also: Changes | None = None,
) -> V:
    """Validate and save a changed row, raising its version by one; the audit log gets what changed.

    action, also: how the log names the change, and what else changed with the row, such as its relations.
    expected: the version that the author edited; None takes the one that was loaded. Raises StaleVersion when
    the stored version is another, and Django's ValidationError when the row is wrong; nothing is saved then.
    """
    base = instance.version if expected is None else expected
    row = lock_version(instance, expected=base)
    instance.full_clean()
    instance.version = row.version + 1
    given = None if fields is None else list(fields)
    names = None if given is None else {*given, "version", *_timestamps(instance)}
    instance.save(update_fields=names)
    audit(action, instance, changes={**difference(instance, snapshot(row), given), **(also or {})})
    return instance


def lock_version(instance: V, *, expected: int | None) -> V:
    """Lock the row to the end of the transaction; answers it as it is stored.

    Raises StaleVersion when its version is not the expected one (None takes any), NotFound when the row is gone.
    """
    stored: V | None = type(instance)._base_manager.select_for_update().filter(pk=instance.pk).first()
    if stored is None:
        raise NotFound(f"This {instance._meta.verbose_name} was deleted in between.")
    if expected is not None and stored.version != expected:
        raise StaleVersion(
            f"This {instance._meta.verbose_name} is at version {stored.version}; you edited version {expected}.",
            hint="Load it again and repeat your change.",
        )
    return stored


def _timestamps(instance: VersionedModel) -> list[str]:
    return ["updated_at"] if hasattr(instance, "updated_at") else []
