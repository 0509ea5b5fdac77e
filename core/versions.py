"""Optimistic locking: a save names the version that its author saw."""

from collections.abc import Iterable
from typing import TypeVar

from django.db import transaction

from core.exceptions import NotFound, StaleVersion
from core.models import VersionedModel

V = TypeVar("V", bound=VersionedModel)


@transaction.atomic
def save_version(instance: V, *, expected: int | None, fields: Iterable[str] | None = None) -> V:
    """Validate and save a changed row, raising its version by one.

    expected: the version that the author edited; None takes the one that was loaded. Raises StaleVersion when
    the stored version is another, and Django's ValidationError when the row is wrong; nothing is saved then.
    """
    base = instance.version if expected is None else expected
    stored = lock_version(instance, expected=base)
    instance.full_clean()
    instance.version = stored + 1
    names = None if fields is None else {*fields, "version", *_timestamps(instance)}
    instance.save(update_fields=names)
    return instance


def lock_version(instance: VersionedModel, *, expected: int | None) -> int:
    """Lock the row to the end of the transaction; answers its stored version.

    Raises StaleVersion when that is not the expected one (None takes any), NotFound when the row is gone.
    """
    rows = type(instance)._base_manager.select_for_update().filter(pk=instance.pk)
    stored: int | None = rows.values_list("version", flat=True).first()
    if stored is None:
        raise NotFound(f"This {instance._meta.verbose_name} was deleted in between.")
    if expected is not None and stored != expected:
        raise StaleVersion(
            f"This {instance._meta.verbose_name} is at version {stored}; you edited version {expected}.",
            hint="Load it again and repeat your change.",
        )
    return stored


def _timestamps(instance: VersionedModel) -> list[str]:
    return ["updated_at"] if hasattr(instance, "updated_at") else []
