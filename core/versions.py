"""Optimistic locking: a save names the version that its author saw."""

from collections.abc import Iterable
from typing import TypeVar

from django.db import transaction

from core.exceptions import StaleVersion
from core.models import VersionedModel

V = TypeVar("V", bound=VersionedModel)


@transaction.atomic
def save_version(instance: V, *, expected: int | None, fields: Iterable[str] | None = None) -> V:
    """Validate and save a changed row, raising its version by one.

    expected: the version that the author edited; None takes the one that was loaded. Raises StaleVersion when
    the stored version is another, and Django's ValidationError when the row is wrong; nothing is saved then.
    """
    base = instance.version if expected is None else expected
    stored = type(instance)._base_manager.select_for_update().values_list("version", flat=True).get(pk=instance.pk)
    if stored != base:
        raise StaleVersion(
            f"This {instance._meta.verbose_name} is at version {stored}; you edited version {base}.",
            hint="Load it again and repeat your change.",
        )
    instance.full_clean()
    instance.version = stored + 1
    names = None if fields is None else {*fields, "version", *_timestamps(instance)}
    instance.save(update_fields=names)
    return instance


def _timestamps(instance: VersionedModel) -> list[str]:
    return ["updated_at"] if hasattr(instance, "updated_at") else []
