"""Which budgets a piece of work counts to."""

import uuid

from django.db.models import Q

from observability.budget_models import Budget
from observability.choices import BudgetScope


def budgets_of(
    workspace_id: uuid.UUID, *, key_id: uuid.UUID | None, target: tuple[str, uuid.UUID] | None
) -> tuple[uuid.UUID, ...]:
    """Those of the workspace, of the key, and of the tool (kind and id), that are active now."""
    applies = Q(scope=BudgetScope.WORKSPACE)
    if key_id is not None:
        applies |= Q(scope=BudgetScope.API_KEY, api_key_id=key_id)
    if target is not None:
        applies |= Q(scope=BudgetScope.TOOL, target_kind=target[0], target_id=target[1])
    rows = Budget.objects.for_workspace(workspace_id).filter(applies, is_active=True)
    return tuple(rows.values_list("pk", flat=True))
