"""The audit log: who changed what, when, from where. Written in the transaction of the change, so neither is alone.

Services create, change and delete what people configure through `save_new`, `core.versions.save_version` and
`delete_row`, which all end here. The row itself is `accounts.AuditEvent`; it can be added to and never changed.
"""

import getpass
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.apps import apps
from django.db import models, transaction
from django.http import HttpRequest

from core.context import current_request, request_id
from core.fields import EncryptedTextField

R = TypeVar("R", bound=models.Model)

HIDDEN = "changed"
"""Instead of the values of a secret."""

SECRET_COLUMNS = frozenset({"password", "secret_hash"})
NOT_TOLD = frozenset({"id", "workspace", "version", "created_at", "updated_at", "last_login", "last_used_at"})
MAX_TEXT = 2000

Changes = dict[str, Any]


def snapshot(row: models.Model) -> dict[str, Any]:
    """The row's columns by name; secrets as what is stored, to be compared and never shown."""
    return {field.name: _stored(field, row) for field in row._meta.concrete_fields if field.name not in NOT_TOLD}


def _stored(field: Any, row: models.Model) -> Any:
    value = getattr(row, field.attname)
    return value.envelope() if isinstance(field, EncryptedTextField) and value else value


def difference(row: models.Model, before: Mapping[str, Any], names: Iterable[str] | None = None) -> Changes:
    """What differs between the row and its snapshot, each with both values; of a secret only that it differs."""
    after = snapshot(row)
    chosen = after.keys() if names is None else [name for name in names if name in after]
    return {
        name: HIDDEN if _is_secret(row, name) else {"before": shown(before.get(name)), "after": shown(after[name])}
        for name in chosen
        if before.get(name) != after[name]
    }


def _is_secret(row: models.Model, name: str) -> bool:
    return name in SECRET_COLUMNS or isinstance(row._meta.get_field(name), EncryptedTextField)


def shown(value: Any) -> Any:
    """A value as the log keeps it: plain JSON, long texts cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(one) for one in value]
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def save_new(row: R, *, also: Mapping[str, Any] | None = None) -> R:
    """Validate and insert a row that people configure. also: what it consists of beside its columns."""
    with transaction.atomic():
        row.full_clean()
        row.save(force_insert=True)
        changes = {name: _only_after(change) for name, change in difference(row, {}).items()}
        audit("create", row, changes={**changes, **{name: {"after": shown(v)} for name, v in (also or {}).items()}})
    return row


def _only_after(change: Any) -> Any:
    return change if change == HIDDEN else {"after": change["after"]}


def delete_row(row: models.Model) -> None:
    """Delete a row that people configure. Raises ProtectedError while others need it."""
    with transaction.atomic():
        audit("delete", row)
        row.delete()


def audit(action: str, row: models.Model, *, changes: Changes | None = None, workspace_id: Any = None) -> None:
    """Note that somebody did this to the row. Call it inside the transaction of the change.

    workspace_id: for rows that carry none; without one the event belongs to the installation.
    """
    event: Any = apps.get_model("accounts", "AuditEvent")
    request = current_request.get()
    event.objects.create(
        workspace_id=workspace_id or getattr(row, "workspace_id", None),
        action=action,
        object_type=str(row._meta.verbose_name),
        object_id=row.pk,
        object_name=str(row)[:300],
        changes=changes or {},
        request_id=request_id.get(),
        **_who(request),
    )


def _who(request: HttpRequest | None) -> dict[str, Any]:
    if request is None:
        is_command = Path(sys.argv[0]).name == "manage.py"
        return {"door": "command" if is_command else "system", "actor_name": getpass.getuser() if is_command else ""}
    user, key = getattr(request, "user", None), getattr(getattr(request, "auth", None), "key", None)
    known = user if user is not None and user.is_authenticated else None
    return {
        "door": _door(request.path),
        "actor_id": known.pk if known else None,
        "actor_name": known.get_username() if known else "",
        "key_id": key.pk if key else None,
        "key_name": key.name if key else "",
        "address": str(request.META.get("REMOTE_ADDR", ""))[:50],
    }


def _door(path: str) -> str:
    first = path.strip("/").partition("/")[0]
    return first if first in ("api", "admin", "panel") else "page"
