import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role
from observability.models import Budget

pytestmark = pytest.mark.django_db
URL = "/api/v1/budgets/"
BODY = {"name": "Month", "slug": "month", "limit": "12.5", "currency": "EUR"}


@pytest.fixture
def workspace():
    return MembershipFactory().workspace


def client(workspace, role=Role.ADMIN) -> APIClient:
    member = MembershipFactory(workspace=workspace, role=role)
    found = APIClient()
    text = api_key_issue(user=member.user, workspace=workspace, name="x").text
    found.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return found


def test_a_budget_is_made_read_changed_and_deleted(workspace):
    caller = client(workspace)

    made = caller.post(URL, BODY, format="json")
    listed = caller.get(URL).json()["results"]
    changed = caller.patch(f"{URL}month/", {"limit": "20"}, format="json", HTTP_IF_MATCH=made["ETag"])
    gone = caller.delete(f"{URL}month/", HTTP_IF_MATCH=changed["ETag"])

    assert (made.status_code, changed.status_code, gone.status_code) == (201, 200, 204)
    body = made.json()
    assert (body["scope"], body["period"], body["unit"], body["warn_percent"]) == ("workspace", "month", "money", 80)
    assert (body["standing"]["used"], body["standing"]["left"]) == ("0.00000000", "12.50000000")
    assert listed == [body]
    assert changed.json()["limit"] == "20.00000000"


def test_a_list_of_budgets_asks_once_where_they_stand(workspace, django_assert_max_num_queries):
    caller = client(workspace)
    for number in range(5):
        caller.post(URL, {**BODY, "slug": f"b{number}"}, format="json")
    caller.get(URL)

    with django_assert_max_num_queries(8):
        assert len(caller.get(URL).json()["results"]) == 5


@pytest.mark.parametrize("part", [{"target_id": "01890000-0000-7000-8000-000000000000"}, {"target_kind": "rag_tool"}])
@pytest.mark.parametrize("scope", ["workspace", "tool"])
def test_half_a_tool_is_named_by_no_budget(workspace, scope, part):
    answer = client(workspace).post(URL, {**BODY, "scope": scope, **part}, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/target_id")
    assert not Budget._unscoped.exists()


def test_an_operator_reads_budgets_and_changes_none(workspace):
    client(workspace).post(URL, BODY, format="json")
    operator = client(workspace, Role.OPERATOR)

    assert operator.get(f"{URL}month/").status_code == 200
    assert operator.post(URL, {**BODY, "slug": "other"}, format="json").status_code == 403
    assert operator.patch(f"{URL}month/", {"limit": "99"}, format="json", HTTP_IF_MATCH='"1"').status_code == 403
    assert Budget._unscoped.get().limit == 12.5


def test_a_key_of_another_workspace_is_no_key_here(workspace):
    client(MembershipFactory().workspace)
    foreign = ApiKey._unscoped.exclude(workspace=workspace).first()

    answer = client(workspace).post(URL, {**BODY, "scope": "api_key", "api_key": str(foreign.pk)}, format="json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/api_key"


@pytest.mark.parametrize("change", [{"limit": "-1"}, {"limit": "NaN"}, {"zone": "Nowhere"}, {"scope": "tool"}])
def test_what_is_no_budget_is_a_400(workspace, change):
    assert client(workspace).post(URL, {**BODY, **change}, format="json").status_code == 400
    assert not Budget._unscoped.exists()
