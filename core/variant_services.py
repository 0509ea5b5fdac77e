"""The life of a variant: draft, publish, activate, copy, compare. One set of services for every kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import models, transaction
from django.utils import timezone

from core.access import Permission, Principal
from core.audit import Changes, save_new
from core.compiled import Compiled, Statement, execute
from core.exceptions import Conflict, NotFound
from core.faults import fault
from core.models import ConfigurationModel
from core.variants import Variant, VariantStatus
from core.versions import save_version

V = TypeVar("V", bound=Variant)


@dataclass(frozen=True)
class FieldChange:
    """One configured value that differs between two variants."""

    field: str
    before: Any
    after: Any


def _lock_parent(parent: ConfigurationModel) -> None:
    type(parent)._base_manager.select_for_update().get(pk=parent.pk)


def _variants(parent: ConfigurationModel) -> models.QuerySet[Any]:
    variants: models.QuerySet[Any] = parent.variants.all()  # type: ignore[attr-defined]  # declared by Variant.parent
    return variants


@transaction.atomic
def variant_create_draft(
    parent: ConfigurationModel, *, actor: Any, copy_of: Variant | None = None, values: Mapping[str, Any] | None = None
) -> Any:
    """Start the next draft: of the given variant, else of the newest one, else from defaults.

    Raises Conflict when there is a draft already, ValidationError when the values are wrong.
    """
    _lock_parent(parent)
    newest = _variants(parent).order_by("-number").first()
    if newest is not None and newest.is_draft:
        raise Conflict(
            f"Variant {newest.number} is a draft already.", hint="Edit or publish it; there is one draft at a time."
        )
    template = copy_of or newest
    config = template.config() if template is not None else {}
    columns, relations = _split(_variants(parent).model, {**config, **(values or {})})
    variant = _variants(parent).model(
        parent=parent,
        workspace_id=parent.workspace_id,
        number=(newest.number if newest else 0) + 1,
        created_by=actor,
        **columns,
    )
    save_new(variant, also={name: [row_key(row) for row in rows] for name, rows in relations.items()})
    _set_relations(variant, relations)
    return variant


def row_key(row: Any) -> str:
    """The id of a row that is given as itself or as its id."""
    return str(row.pk if isinstance(row, models.Model) else row)


def _split(model: type[models.Model], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns (a foreign key may be given as a row or as an id) and many-to-many relations, by attribute name."""
    columns: dict[str, Any] = {}
    relations: dict[str, Any] = {}
    for name, value in values.items():
        field = model._meta.get_field(name)
        if field.many_to_many:
            relations[name] = value
        else:
            columns[name if isinstance(value, models.Model) else getattr(field, "attname", name)] = value
    return columns, relations


def _set_relations(variant: Variant, relations: Mapping[str, Any]) -> None:
    for name, rows in relations.items():
        getattr(variant, name).set(rows)


@transaction.atomic
def variant_edit(variant: V, *, values: Mapping[str, Any], expected: int | None = None) -> V:
    """Change a draft. Raises Conflict for a published variant, StaleVersion when somebody else saved it."""
    require_draft(variant)
    columns, relations = _split(type(variant), values)
    for name, value in columns.items():
        setattr(variant, name, value)
    also = _relation_changes(variant, relations)
    fields = [name for name in values if name not in relations]
    saved = save_version(variant, expected=expected, fields=fields, also=also)
    _set_relations(variant, relations)
    return saved


def _relation_changes(variant: Variant, relations: Mapping[str, Any]) -> Changes:
    stored = variant.config() if relations else {}
    pairs = {
        name: ([str(pk) for pk in stored[name]], sorted(row_key(row) for row in rows))
        for name, rows in relations.items()
    }
    return {name: {"before": before, "after": after} for name, (before, after) in pairs.items() if before != after}


def require_draft(variant: Variant) -> None:
    if not variant.is_draft:
        raise Conflict(
            f"Variant {variant.number} is published and cannot change.", hint="Copy it to a new draft and edit that."
        )


@transaction.atomic
def variant_publish(variant: V, *, actor: Any, expected: int | None = None) -> V:
    """Freeze a draft and make it the one that is served."""
    _lock_parent(variant.parent)
    variant.refresh_from_db(fields=["status", "is_active"])
    require_draft(variant)
    variant.move_to(VariantStatus.PUBLISHED)
    variant.published_at = timezone.now()
    variant.published_by = actor
    _variants(variant.parent).filter(is_active=True).update(is_active=False)
    fault("variant.in_switch")
    variant.is_active = True
    fields = ["status", "is_active", "published_at", "published_by"]
    return save_version(variant, expected=expected, fields=fields, action="publish")


@transaction.atomic
def variant_activate(variant: V) -> V:
    """Serve an already published variant again: the rollback. Doing it twice changes nothing."""
    _lock_parent(variant.parent)
    variant.refresh_from_db(fields=["status", "is_active", "version"])
    if variant.is_draft:
        raise Conflict(f"Variant {variant.number} is a draft.", hint="Publish it; that makes it active.")
    if variant.is_active:
        return variant
    _variants(variant.parent).filter(is_active=True).update(is_active=False)
    variant.is_active = True
    return save_version(variant, expected=None, fields=["is_active"], action="activate")


def variant_diff(before: Variant, after: Variant) -> list[FieldChange]:
    """The configured values that differ, in the order of CONFIG_FIELDS."""
    old, new = before.config(), after.config()
    return [FieldChange(name, old[name], new[name]) for name in before.CONFIG_FIELDS if old[name] != new[name]]


def variant_resolve(parent: ConfigurationModel, number: int | None = None) -> Any:
    """The variant to run: the active one, or the one with this number.

    Raises Conflict when none is active, NotFound for an unknown number. Whether the caller may run a draft is
    the door's question.
    """
    (variant,) = variants_resolve((parent, number))
    return variant


def variants_resolve(*asked: tuple[ConfigurationModel, int | None]) -> list[Any]:
    """The same for several, in one round trip."""
    found = execute(*(_to_run(parent, number) for parent, number in asked))
    return [_required(parent, number, rows) for (parent, number), rows in zip(asked, found, strict=True)]


def _to_run(parent: ConfigurationModel, number: int | None) -> Statement[list[Any]]:
    model = type(parent)._meta.get_field("variants").related_model  # type: ignore[misc]  # declared by Variant.parent
    if number is None:
        return _active.filled(model, parent=parent.pk)
    return _numbered.filled(model, parent=parent.pk, number=number)


@Compiled
def _active(model: Any, parent: Any) -> "models.QuerySet[Any]":
    rows: models.QuerySet[Any] = model._base_manager.filter(parent=parent, is_active=True)
    return rows


@Compiled
def _numbered(model: Any, parent: Any, number: Any) -> "models.QuerySet[Any]":
    rows: models.QuerySet[Any] = model._base_manager.filter(parent=parent, number=number)
    return rows


def _required(parent: ConfigurationModel, number: int | None, rows: Sequence[Any]) -> Any:
    if rows:
        rows[0].parent = parent
        return rows[0]
    if number is None:
        raise Conflict(f"'{parent.slug}' has no published variant.", hint="Publish its draft first.")
    raise NotFound(f"'{parent.slug}' has no variant {number}.")


def variant_to_run(parent: ConfigurationModel, number: int | None, principal: Principal) -> Any:
    """The variant that this caller may run: the active one, or the one named; a draft takes `manage`."""
    variant = variant_resolve(parent, number)
    if variant.is_draft:
        principal.require(Permission.MANAGE)
    return variant
