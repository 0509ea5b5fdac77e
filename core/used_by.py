"""What keeps a row from being deleted, as people know it: the objects that use it."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import PROTECT, Model, QuerySet
from django.urls import NoReverseMatch, reverse

MOST_LOOKED_AT = 500
MOST_NAMED = 20


@dataclass(frozen=True, order=True)
class User:
    """An object that uses another one. type: as the API names kinds; url: of the API; page: of the admin."""

    type: str
    name: str
    id: str
    label: str
    url: str
    page: str


def used_by(row: Model) -> list[User]:
    """The objects that keep this row from being deleted."""
    protecting = [
        one for relation in row._meta.related_objects if relation.on_delete is PROTECT for one in _rows(relation, row)
    ]
    return users_of(protecting)


def _rows(relation: Any, row: Model) -> Iterable[Model]:
    name = relation.field.name
    owner = getattr(relation.related_model, "belongs_to", "")
    rows: QuerySet[Any] = relation.related_model._base_manager.filter(**{name: row})
    return (rows.select_related(owner) if owner else rows)[:MOST_LOOKED_AT]


def users_of(rows: Iterable[Model]) -> list[User]:
    """The objects to which these protected rows belong: of a variant its tool, of an index its source.

    A reference never leaves its workspace, so all of them are of the workspace of what they use.
    """
    found = {_user(_owner(row)) for row in list(rows)[:MOST_LOOKED_AT]}
    return sorted(found)


def _owner(row: Any) -> Any:
    name = getattr(row, "belongs_to", "")
    return _owner(getattr(row, name)) if name else row


def _user(row: Any) -> User:
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(row).__name__).lower()
    return User(
        type=kind.replace("-", "_"),
        name=str(row),
        id=str(row.pk),
        label=str(row._meta.verbose_name),
        url=_url(f"{kind}s-detail", row.pk),
        page=_url(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk),
    )


def _url(name: str, pk: uuid.UUID) -> str:
    try:
        return reverse(name, args=[pk])
    except NoReverseMatch:
        return ""
