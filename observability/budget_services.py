"""Writes of budgets. They are the admins'."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from core.access import Permission, Principal
from core.audit import delete_row, save_new
from core.versions import save_version
from observability.budget_models import Budget
from observability.budgets.targets import exists
from observability.choices import BudgetScope


@transaction.atomic
def budget_create(*, principal: Principal, values: Mapping[str, Any]) -> Budget:
    """A new budget; it counts from now on. Raises ValidationError."""
    principal.require(Permission.ADMINISTER)
    budget = Budget(workspace_id=principal.workspace_id, **values)
    _require_target(budget)
    return save_new(budget)


@transaction.atomic
def budget_update(
    budget: Budget, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Budget:
    """Change a budget. What was counted stays, unless period, zone or unit change."""
    principal.require(Permission.ADMINISTER)
    for name, value in values.items():
        setattr(budget, name, value)
    _require_target(budget)
    return save_version(budget, expected=expected, fields=list(values))


def budget_delete(budget: Budget, *, principal: Principal) -> None:
    """Calls that run now end as they would have; nothing holds the next ones."""
    principal.require(Permission.ADMINISTER)
    delete_row(budget)


def _require_target(budget: Budget) -> None:
    if budget.scope != BudgetScope.TOOL or not budget.target_id:
        return
    if not exists(budget.workspace_id, budget.target_kind, budget.target_id):
        raise ValidationError({"target_id": ValidationError(_("There is no such tool here."), code="does_not_exist")})
