"""Writes of sharing: a tool or prompt template is saved together with those who may run it."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Group, Membership
from core.access import Principal
from core.audit import Changes, save_new
from core.exceptions import InvalidInput, PermissionRefused
from core.sharing import SharedModel, visible_tools
from core.versions import save_version

T = TypeVar("T", bound=SharedModel)

MEMBERS = "shared_with_members"
GROUPS = "shared_with_groups"
SHARING_FIELDS = ("shared_with_everybody", MEMBERS, GROUPS)


@transaction.atomic
def shared_create(tool: T, values: Mapping[str, Any]) -> T:
    """Save a new tool; `values` may name the members and groups that it is shared with."""
    wanted = _wanted(tool, values)
    save_new(tool, also={name: _names(rows) for name, rows in wanted.items() if rows})
    _write(tool, wanted)
    return tool


@transaction.atomic
def shared_update(tool: T, values: Mapping[str, Any], *, expected: int | None = None) -> T:
    """Save a tool's columns, and its sharing when `values` names that. What is withdrawn ends at once."""
    wanted = _wanted(tool, values)
    columns = columns_of(values)
    for name, value in columns.items():
        setattr(tool, name, value)
    saved = save_version(tool, expected=expected, fields=list(columns), also=_changes(tool, wanted))
    _write(saved, wanted)
    return saved


def columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those of relations."""
    return {name: value for name, value in values.items() if name not in (MEMBERS, GROUPS)}


def _wanted(tool: SharedModel, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    wanted = {name: list(values[name]) for name in (MEMBERS, GROUPS) if name in values}
    for name, rows in wanted.items():
        if any(row.workspace_id != tool.workspace_id for row in rows):
            raise ValidationError({name: ValidationError(_("This belongs to another workspace."), code="workspace")})
    return wanted


def _stored(tool: SharedModel) -> dict[str, list[Any]]:
    shares = list(tool.shares.select_related("member__user", "group"))
    return {
        MEMBERS: [share.member for share in shares if share.member_id],
        GROUPS: [share.group for share in shares if share.group_id],
    }


def _changes(tool: SharedModel, wanted: Mapping[str, list[Any]]) -> Changes:
    before = {name: _names(rows) for name, rows in _stored(tool).items()} if wanted else {}
    after = {name: _names(rows) for name, rows in wanted.items()}
    return {name: {"before": before[name], "after": names} for name, names in after.items() if before[name] != names}


def _names(rows: Iterable[Membership | Group]) -> list[str]:
    return sorted(row.user.email if isinstance(row, Membership) else row.slug for row in rows)


def _write(tool: SharedModel, wanted: Mapping[str, list[Any]]) -> None:
    share = tool.shares.model
    for name, column in ((MEMBERS, "member"), (GROUPS, "group")):
        if name in wanted:
            kept = {row.pk: row for row in wanted[name]}
            tool.shares.filter(**{f"{column}__isnull": False}).exclude(**{f"{column}__in": kept}).delete()
            there = set(tool.shares.values_list(column, flat=True))
            share.objects.bulk_create(share(tool=tool, **{column: row}) for pk, row in kept.items() if pk not in there)
    getattr(tool, "_prefetched_objects_cache", {}).pop("shares", None)


def tools_for_key(principal: Principal, references: Iterable[Any]) -> list[uuid.UUID]:
    """The ids of the tools that a new key of this caller names. A key that is limited itself hands on its own limits.

    Raises InvalidInput for a tool that the caller may not run.
    """
    known = {tool.pk for tool in visible_tools(principal)}
    wanted = {uuid.UUID(str(reference)) for reference in references}
    missing = sorted(str(one) for one in wanted - known)
    if missing:
        raise InvalidInput(f"There is no tool '{missing[0]}' for you.", hint="Name ids of tools that you may run.")
    return sorted(wanted or principal.tools)


def require_within(principal: Principal, tools: Iterable[uuid.UUID]) -> None:
    """Raises PermissionRefused when the caller's key is limited to tools and these are not among them."""
    named = set(tools)
    if principal.tools and not (named and named <= principal.tools):
        raise PermissionRefused("This API key is limited to some tools and cannot hand on others.")
