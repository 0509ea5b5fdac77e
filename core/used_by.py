"""What keeps a row from being deleted, as people know it: the objects that use it."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.urls import NoReverseMatch, reverse

MOST_LOOKED_AT = 500
MOST_NAMED = 20


@dataclass(frozen=True, order=True)
class User:
    """An object that uses another one. type: as the API names kinds; url: of the API."""

    type: str
    name: str
    id: str
    label: str
    url: str


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
        url=_url(kind, row.pk),
    )


def _url(kind: str, pk: uuid.UUID) -> str:
    try:
        return reverse(f"{kind}s-detail", args=[pk])
    except NoReverseMatch:
        return ""
