"""The tools that a budget can be for. The apps above register theirs, by the kind of their runs."""

import uuid
from collections.abc import Iterable

from core.models import ConfigurationModel
from core.registry import Registry
from observability.budget_models import Budget

RUN_TARGETS: Registry[type[ConfigurationModel]] = Registry("kind of tool")


def exists(workspace_id: uuid.UUID, kind: str, target_id: uuid.UUID) -> bool:
    """Whether the workspace has this tool."""
    if kind not in RUN_TARGETS:
        return False
    found: bool = RUN_TARGETS.get(kind).objects.for_workspace(workspace_id).filter(pk=target_id).exists()
    return found


def choices(workspace_id: uuid.UUID) -> list[tuple[str, list[tuple[str, str]]]]:
    """The tools of the workspace as grouped choices; a value is `kind:id`."""
    return [
        (
            str(model._meta.verbose_name_plural).capitalize(),
            [(f"{kind}:{row.pk}", str(row)) for row in model.objects.for_workspace(workspace_id).order_by("name")],
        )
        for kind, model in RUN_TARGETS.items()
    ]


def names_of(budgets: Iterable[Budget]) -> dict[uuid.UUID, str]:
    """The names of the tools of these budgets, by the tools' ids: a query for each kind."""
    found: dict[uuid.UUID, str] = {}
    wanted = {(one.workspace_id, one.target_kind, one.target_id) for one in budgets if one.target_id}
    for kind, model in RUN_TARGETS.items():
        ids = {target for _, of, target in wanted if of == kind}
        for workspace_id in {workspace for workspace, of, _ in wanted if of == kind}:
            rows = model.objects.for_workspace(workspace_id).filter(pk__in=ids)
            found |= {row.pk: str(row) for row in rows}
    return found
