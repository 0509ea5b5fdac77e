import pytest
from rest_framework.test import APIClient

from accounts.models import AuditEvent
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role
from llm.models import ModelPrice
from llm.tests.factories import ModelFactory
from magnet.tests.admin_world import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def model():
    return ModelFactory()


def client(workspace, role=Role.ADMIN) -> APIClient:
    member = MembershipFactory(workspace=workspace, role=role)
    key = api_key_issue(user=member.user, workspace=workspace, name="x").text
    found = APIClient()
    found.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return found


def url(model) -> str:
    return f"/api/v1/models/{model.slug}/prices/"


def test_prices_are_added_and_listed_newest_first(model):
    caller = client(model.workspace)

    first = caller.post(url(model), {"input": "0.123456", "output": "2", "valid_from": "2026-01-01T00:00:00Z"})
    second = caller.post(url(model), {"input": "0.2", "cached_input": "0.1", "currency": "EUR"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["input"], first.json()["currency"]) == ("0.123456", "USD")
    assert (first.json()["cached_input"], first.json()["source"]) == (None, "operator")
    listed = caller.get(url(model)).json()["results"]
    assert [one["id"] for one in listed] == [second.json()["id"], first.json()["id"]]
    assert AuditEvent.objects.filter(object_id=first.json()["id"], action="create").exists()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": "-1"},
        {"input": "NaN"},
        {"input": "1e20"},
        {"input": "0.0000001"},
        {"input": "1", "currency": "dollars"},
        {"input": "1", "currency": "usd"},
    ],
)
def test_what_is_no_price_is_refused(model, body):
    assert client(model.workspace).post(url(model), body, format="json").status_code == 400
    assert not ModelPrice.objects.for_workspace(model.workspace_id).exists()


def test_an_operator_reads_and_does_not_add(model):
    operator = client(model.workspace, Role.OPERATOR)

    assert operator.get(url(model)).status_code == 200
    assert operator.post(url(model), {"input": "0"}).status_code == 403
    assert not ModelPrice.objects.for_workspace(model.workspace_id).exists()


def test_the_prices_of_another_workspace_do_not_exist(model):
    other = client(MembershipFactory().workspace)

    assert other.get(f"/api/v1/models/{model.pk}/prices/").status_code == 404
    assert other.post(f"/api/v1/models/{model.pk}/prices/", {"input": "0"}).status_code == 404


def form_of(model, **price) -> dict[str, str]:
    values = {"input": "", "cached_input": "", "output": "0", "reasoning": "", "currency": "USD", "note": ""}
    rows = {f"prices-0-{name}": value for name, value in {**values, **price}.items()}
    return {
        "name": model.name, "slug": model.slug, "provider": str(model.provider_id), "kind": model.kind,
        "identifier": model.identifier, "max_input_tokens": "8000", "timeout_seconds": "60", "is_active": "on",
        "expected_version": str(model.version), "prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "0",
        "prices-0-valid_from_0": "2026-01-01", "prices-0-valid_from_1": "00:00:00", **rows,
    }  # fmt: skip


def test_an_admin_adds_a_price_in_the_form_of_the_model(model):
    person = MembershipFactory(workspace=model.workspace, role=Role.ADMIN).user
    page = f"/admin/llm/model/{model.pk}/change/"

    answer = signed_in(person).post(page, form_of(model, input="1.5"))

    assert answer.status_code == 302, answer.context["errors"]
    row = model.prices.get()
    assert (str(row.input), row.source, row.workspace_id) == ("1.500000", "operator", model.workspace_id)
    assert "1.5" in signed_in(person).get(page).content.decode()


def test_a_form_never_changes_a_price_that_is_there(model):
    row = ModelPrice(model=model, workspace=model.workspace, input=1, output=1)
    row.save()
    person = MembershipFactory(workspace=model.workspace, role=Role.ADMIN).user
    values = {**form_of(model, input="9"), "prices-INITIAL_FORMS": "1", "prices-0-id": str(row.pk)}

    signed_in(person).post(f"/admin/llm/model/{model.pk}/change/", values)

    assert model.prices.get().input == 1
