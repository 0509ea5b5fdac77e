"""Writes of groups."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Group, Membership
from core.access import Permission, Principal
from core.audit import Changes, delete_row, save_new
from core.versions import save_version


@transaction.atomic
def group_create(*, principal: Principal, values: Mapping[str, Any]) -> Group:
    """A new group, with the members that `values` may name."""
    principal.require(Permission.ADMINISTER)
    columns, members = _split(principal, values)
    group = Group(workspace_id=principal.workspace_id, **columns)
    save_new(group, also={"members": _addresses(members)} if members else None)
    group.members.set(members or [])
    return group


@transaction.atomic
def group_update(
    group: Group, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Group:
    """Change a group's names, or replace its members: what is shared with it changes hands at once."""
    principal.require(Permission.ADMINISTER)
    columns, members = _split(principal, values)
    for name, value in columns.items():
        setattr(group, name, value)
    also: Changes = {}
    if members is not None:
        before, after = _addresses(group.members.select_related("user")), _addresses(members)
        also = {} if before == after else {"members": {"before": before, "after": after}}
    saved = save_version(group, expected=expected, fields=list(columns), also=also)
    if members is not None:
        saved.members.set(members)
        getattr(saved, "_prefetched_objects_cache", {}).pop("members", None)
    return saved


def group_delete(group: Group, *, principal: Principal) -> None:
    """Delete a group. One that something is shared with is protected (ProtectedError, a 409 that names it)."""
    principal.require(Permission.ADMINISTER)
    delete_row(group)


def _split(principal: Principal, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Membership] | None]:
    columns = {name: value for name, value in values.items() if name != "members"}
    members = list(values["members"]) if "members" in values else None
    if any(one.workspace_id != principal.workspace_id for one in members or ()):
        raise ValidationError({"members": ValidationError(_("This belongs to another workspace."), code="workspace")})
    return columns, members


def _addresses(members: Iterable[Membership] | None) -> list[str]:
    return sorted(member.user.email for member in members or ())
