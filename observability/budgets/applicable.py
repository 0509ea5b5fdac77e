"""Which budgets a piece of work counts to."""

import uuid
from typing import Any

from django.db.models import Q, QuerySet

from core.compiled import Compiled
from observability.budget_models import Budget
from observability.choices import BudgetScope


def budgets_of(
    workspace_id: uuid.UUID, *, key_id: uuid.UUID | None, target: tuple[str, uuid.UUID] | None
) -> tuple[uuid.UUID, ...]:
    """Those of the workspace, of the key, and of the tool (kind and id), that are active now."""
    kind, target_id = target or (None, None)
    return tuple(_active(workspace_id=workspace_id, key_id=key_id, target_kind=kind, target_id=target_id))


@Compiled
def _active(workspace_id: Any, key_id: Any, target_kind: Any, target_id: Any) -> "QuerySet[Budget, uuid.UUID]":
    of_key = Q(scope=BudgetScope.API_KEY, api_key_id=key_id)
    of_tool = Q(scope=BudgetScope.TOOL, target_kind=target_kind, target_id=target_id)
    rows = Budget.objects.for_workspace(workspace_id).filter(is_active=True)
    return rows.filter(Q(scope=BudgetScope.WORKSPACE) | of_key | of_tool).values_list("pk", flat=True)
