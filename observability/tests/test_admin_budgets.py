from decimal import Decimal

import pytest

from core.access import Role
from magnet.tests.admin_world import world
from observability.budgets.holding import Ask, reserve, settle
from observability.choices import Operation
from observability.models import Budget, Reservation
from observability.tracing import UsageEntry
from prompts.models import PromptTemplate

pytestmark = pytest.mark.django_db
ADD = "/admin/observability/budget/add/"
LIST = "/admin/observability/budget/"


@pytest.fixture
def north():
    return world("north")


def form(**values) -> dict[str, object]:
    return {
        "name": "Trial", "slug": "trial", "scope": "workspace", "unit": "tokens", "limit": "1000", "currency": "USD",
        "period": "day", "zone": "UTC", "warn_percent": "80", "is_active": "on", **values,
    }  # fmt: skip


def use(budget: Budget, tokens: int) -> None:
    hold = reserve([budget.pk], Ask("m", tokens, 0, None, 60))
    settle(hold, [UsageEntry(Operation.CHAT, "o", "o", "m", "m", input_tokens=tokens)])


def test_an_admin_makes_a_budget_for_a_tool_chosen_by_name(north):
    tool = north[PromptTemplate]

    page = north.client(Role.ADMIN).get(ADD).content.decode()
    answer = north.client(Role.ADMIN).post(ADD, form(scope="tool", tool=f"prompt_template:{tool.pk}"))

    assert tool.name in page
    assert answer.status_code == 302, answer.context["errors"]
    made = Budget._unscoped.get(slug="trial")
    assert (made.target_kind, made.target_id, made.limit) == ("prompt_template", tool.pk, Decimal(1000))
    assert tool.name in north.client().get(LIST).content.decode()


def test_a_budget_for_a_tool_without_one_is_the_form_again_with_the_reason(north):
    answer = north.client(Role.ADMIN).post(ADD, form(scope="tool"))

    assert answer.status_code == 200
    assert "Name the tool" in answer.content.decode()


def test_the_list_shows_what_is_used_and_left_and_when_it_begins_anew(north):
    budget = north[Budget]
    Budget._unscoped.filter(pk=budget.pk).update(limit=1000)
    use(budget, 850)
    reserve([budget.pk], Ask("m", 100, 0, None, 60))

    page = north.client().get(LIST).content.decode()

    assert "850 tokens (85 %)" in page
    assert "50 tokens (calls that run now hold 100 tokens)" in page
    assert "Nearly used up" in page
    assert "UTC" in page
    assert Reservation._unscoped.count() == 1


def test_the_overview_warns(north):
    budget = north[Budget]
    Budget._unscoped.filter(pk=budget.pk).update(limit=1000)
    before = north.client().get("/admin/").content.decode()

    use(budget, 900)

    assert budget.name not in before
    assert "90 %" in north.client().get("/admin/").content.decode()
    assert f"of the budget {budget.name} used" in north.client().get("/admin/").content.decode()


def test_an_operator_reads_budgets_and_changes_none(north):
    answer = north.client(Role.OPERATOR).post(f"{LIST}{north[Budget].pk}/change/", form(limit="9"))

    assert answer.status_code == 403
    assert Budget._unscoped.get(pk=north[Budget].pk).limit == 10**9


def test_the_page_of_a_budget_says_its_state_and_limit_in_words(north):
    budget = north[Budget]
    Budget.objects.for_workspace(north.workspace.pk).filter(pk=budget.pk).update(limit=Decimal("5000"))

    page = north.client(Role.ADMIN).get(f"{LIST}{budget.pk}/change/").content.decode()

    assert 'value="5000"' in page
    assert "Good" in page
    assert "&#x27;good&#x27;" not in page


def test_a_stale_save_names_what_changed_alone(north):
    budget, client = north[Budget], north.client(Role.ADMIN)
    page = f"{LIST}{budget.pk}/change/"
    given = form(name=budget.name, slug=budget.slug, limit="1000000000", period=budget.period, description="theirs")
    client.post(page, {**given, "expected_version": budget.version})

    answer = client.post(page, {**given, "description": "mine", "expected_version": budget.version})

    assert answer.status_code == 409
    assert "Description is now: theirs" in answer.content.decode()
    assert "Limit is now" not in answer.content.decode()
