"""What people read instead of the ids that reports group by."""

import uuid
from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, User
from core.ids import is_uuid
from observability.choices import Operation, SpanStatus
from observability.usage.query import GroupBy

# What stands for the group of calls that have none of it.
NOBODY = {
    GroupBy.KEY: _("without a key"),
    GroupBy.USER: _("nobody"),
    GroupBy.TOOL: _("without a tool"),
}


def labels(group_by: GroupBy, groups: Iterable[str], workspace_id: uuid.UUID) -> dict[str, str]:
    """A text for each group; an id whose row is gone stays an id."""
    wanted = list(groups)
    found = {group: group for group in wanted}
    if group_by is GroupBy.KEY:
        keys = ApiKey.objects.for_workspace(workspace_id).filter(pk__in=_ids(wanted))
        found |= {str(key.pk): str(key) for key in keys}
    elif group_by is GroupBy.USER:
        users = User.objects.filter(pk__in=_ids(wanted), memberships__workspace_id=workspace_id)
        found |= {str(user.pk): str(user) for user in users}
    elif group_by is GroupBy.OPERATION:
        found |= {group: str(Operation(group).label) for group in wanted if group in Operation.values}
    elif group_by is GroupBy.STATUS:
        found |= {group: str(SpanStatus(group).label) for group in wanted if group in SpanStatus.values}
    return found | {"": str(NOBODY.get(group_by, "—"))}


def _ids(groups: Iterable[str]) -> list[uuid.UUID]:
    return [uuid.UUID(group) for group in groups if is_uuid(group)]
