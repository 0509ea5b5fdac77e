"""The unscoped query is the private one: a new user of it has to be written down here, and so to be thought of."""

import re
from pathlib import Path

import pytest
from django.apps import apps

from core.models import UnscopedQuery, WorkspaceScopedModel

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "accounts/selectors.py": "a key that a request has proved is looked at again",
    "accounts/services.py": "a key is looked up before its workspace is known",
    "core/models.py": "defines it",
    "knowledge/benchmarking.py": "reads the index of the workspace that it made itself",
    "knowledge/indexing.py": "rows of a document that a service has locked",
    "knowledge/ingesting.py": "tasks start from the id of a job",
    "knowledge/integrity.py": "looks at all workspaces for what does not fit",
    "knowledge/maintenance.py": "tasks start from the id of a job",
    "knowledge/quota.py": "the doctor looks at all workspaces",
    "knowledge/services.py": "locks a row that the caller was given",
    "knowledge/recurring.py": "cleans up for all workspaces",
    "llm/doctor.py": "the doctor looks at all workspaces",
    "llm/price_services.py": "a command refreshes the prices of all workspaces",
    "llm/selectors.py": "a model that a row of the workspace refers to",
    "observability/integrity.py": "looks at all workspaces for what does not fit",
    "observability/budgets/holding.py": "locks the periods of the budgets that a recorder of one workspace named",
    "observability/budgets/standing.py": "periods of the rows that the caller was given; the doctor looks at all",
    "observability/leases.py": "tasks start from the id of a job",
    "observability/recurring.py": "cleans up for all workspaces",
    "observability/runs/closing.py": "closes the run that this process executes",
    "observability/runs/emptying.py": "empties runs of all workspaces",
    "observability/runs/store.py": "stores events of the run that this process executes",
    "observability/scheduling.py": "hands out the schedules of all workspaces, and the platform's",
    "observability/selectors.py": "the platform's schedules, which have no workspace",
    "observability/services.py": "locks a row that the caller was given",
    "observability/sweeper.py": "works for all workspaces",
    "observability/usage/rollup.py": "adds up and cleans up for all workspaces",
}
SCOPED = [model for model in apps.get_models() if issubclass(model, WorkspaceScopedModel)]


def users() -> set[str]:
    found = set()
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        hidden = any(part in {"tests", "migrations"} or part.startswith(".") for part in path.relative_to(ROOT).parts)
        if not hidden and re.search(r"\b_unscoped\b", path.read_text()):
            found.add(name)
    return found


def test_no_module_reaches_around_the_workspace_unless_it_is_listed():
    assert users() - set(ALLOWED) == set()


def test_the_list_holds_nothing_that_is_gone():
    assert set(ALLOWED) - users() == set()


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
def test_no_model_can_be_queried_without_its_workspace(model):
    for attempt in (model.objects.all, model.objects.count, lambda: model.objects.filter(pk=None), model.objects.first):
        with pytest.raises(UnscopedQuery, match="for_workspace"):
            attempt()
    assert list(model.objects.none()) == []
