"""`GET usage/`: rows, totals, filters, CSV, and who may see it."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import AsyncClient
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from core.spreadsheets import original
from observability.models import UsageRecord
from observability.usage import rollup

pytestmark = pytest.mark.django_db
PATH = "/api/v1/usage/"
FORMULAS = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'quoted", "a=1"]


@pytest.fixture
def viewer() -> Membership:
    return MembershipFactory(role=Role.VIEWER)


@pytest.fixture
def client(viewer) -> APIClient:
    made = APIClient()
    made.force_login(viewer.user)
    return made


def use(membership, ago=timedelta(), **values):
    given = {"operation": "chat", "provider_slug": "openai", "model_slug": "small", **values}
    UsageRecord(workspace=membership.workspace, created_at=timezone.now() - ago, **given).save()


def test_totals_and_rows_by_model_and_day(client, viewer):
    use(viewer, timedelta(days=3), input_tokens=5, cost=Decimal("0.1"), duration_ms=80)
    use(viewer, timedelta(days=3), input_tokens=9, model_slug="large", status="error")
    rollup.roll_up()
    use(viewer, input_tokens=2)

    answer = client.get(PATH, {"interval": "day", "group_by": "model", "zone": "Asia/Tokyo"}).json()

    assert (answer["zone"], answer["interval"], answer["group_by"]) == ("Asia/Tokyo", "day", "model")
    assert (answer["totals"]["calls"], answer["totals"]["errors"], answer["totals"]["input_tokens"]) == (3, 1, 16)
    assert answer["totals"]["cost"] == [{"currency": "USD", "amount": "0.10000000"}]
    rows = [(row["group"], row["group_name"], row["input_tokens"]) for row in answer["results"]]
    assert rows == [("openai/large",) * 2 + (9,), ("openai/small",) * 2 + (5,), ("openai/small",) * 2 + (2,)]
    assert answer["results"][1]["p50_ms"] == pytest.approx(80, rel=0.02)
    assert all(row["start"].endswith("T00:00:00+09:00") for row in answer["results"])


def test_without_a_group_there_is_one_row_and_none_without_calls(client, viewer):
    assert client.get(PATH).json()["results"] == []

    use(viewer, input_tokens=2)

    (row,) = client.get(PATH).json()["results"]
    assert (row["start"], row["group"], row["group_name"], row["input_tokens"]) == (None, None, None, 2)


def test_keys_and_people_have_names(client, viewer):
    issued = api_key_issue(user=viewer.user, workspace=viewer.workspace, name="nightly")
    use(viewer, key_id=issued.key.pk, user=viewer.user)
    use(viewer)

    keys = client.get(PATH, {"group_by": "key"}).json()["results"]
    people = client.get(PATH, {"group_by": "user", "key": str(issued.key.pk)}).json()["results"]

    assert {row["group_name"] for row in keys} == {str(issued.key), "without a key"}
    assert [(row["group"], row["group_name"]) for row in people] == [(str(viewer.user.pk), str(viewer.user))]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("query, headers", [({"format": "csv"}, {}), ({}, {"Accept": "text/csv"})])
async def test_a_file_is_neutralised_and_reads_back(query, headers):
    from asgiref.sync import sync_to_async

    member = await sync_to_async(MembershipFactory)(role=Role.VIEWER)
    formula = "=HYPERLINK(1)"
    await sync_to_async(use)(member, provider_slug=formula, input_tokens=7, cost=Decimal("0.5"))
    client = AsyncClient()
    await client.aforce_login(member.user)

    answer = await client.get(PATH, {**query, "group_by": "provider"}, headers=headers)

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    text = b"".join([piece async for piece in answer.streaming_content]).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["provider"] == f"'{formula}"
    assert original(row["provider"]) == formula
    assert (row["calls"], row["input_tokens"], row["cost_USD"], row["start"]) == ("1", "7", "0.50000000", "")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("group", ["provider", "model", "key", "user"])
async def test_no_name_in_a_file_is_a_formula_and_each_reads_back(group):
    from asgiref.sync import sync_to_async

    def build() -> Membership:
        member = MembershipFactory(role=Role.VIEWER, user__name=FORMULAS[0])
        for text in FORMULAS:
            key = api_key_issue(user=member.user, workspace=member.workspace, name=text).key
            use(member, provider_slug=text, model_slug=text, key_id=key.pk, user=member.user)
        return member

    member = await sync_to_async(build)()
    client = AsyncClient()
    await client.aforce_login(member.user)

    answer = await client.get(PATH, {"format": "csv", "group_by": group})

    text = b"".join([piece async for piece in answer.streaming_content]).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))] == []
    told = {original(row[column]) for row in rows for column in (group, f"{group}_name")}
    expected = {"user": [str(member.user)], "model": [f"{one}/{one}" for one in FORMULAS]}.get(group, FORMULAS)
    assert all(any(one in cell for cell in told) for one in expected), told


@pytest.mark.parametrize(
    "query, pointer",
    [
        ("colour=red", "/colour"),
        ("group_by=colour", "/group_by"),
        ("interval=minute", "/interval"),
        ("zone=Mars", "/zone"),
        ("from=x", "/from"),
        ("from=2026-01-02&to=2026-01-01", "/from"),
        ("to=9999-12-31T23:30:00Z", "/to"),
        ("to=9999-12-31&zone=Pacific/Kiritimati", "/to"),
        ("to=0001-01-02", "/to"),
        ("from=0001-01-01&zone=Asia/Tokyo", "/from"),
        ("from=2020-01-01&interval=hour", "/interval"),
        ("format=xml", "/format"),
        ("tool=%00", "/tool"),
        ("model=a&model=b", "/model"),
    ],
)
def test_what_is_wrong_is_pointed_at(client, query, pointer):
    answer = client.get(f"{PATH}?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_hostile_filters_are_values(client, viewer):
    use(viewer)

    for text in ["' OR 1=1 --", "%s", "%(workspace)s", "\u202e", "x" * 5000]:
        assert client.get(PATH, {"model": text}).json()["results"] == []
    assert client.get(PATH, {"model": "\x00"}).status_code == 400


def test_only_viewers_and_keys_that_read_see_it(viewer):
    user = MembershipFactory(role=Role.USER, workspace=viewer.workspace)
    client = APIClient()
    client.force_login(user.user)
    assert client.get(PATH).status_code == 403

    for scope, status in [(Scope.READ, 200), (Scope.RUN, 403)]:
        key = api_key_issue(user=viewer.user, workspace=viewer.workspace, name="k", scopes=[scope])
        assert APIClient(headers={"Authorization": f"Bearer {key.text}"}).get(PATH).status_code == status


def test_nothing_of_another_workspace_shows(client, viewer):
    other = MembershipFactory()
    use(other, user=other.user)
    rollup.roll_up()
    use(other, user=other.user)

    assert client.get(PATH, {"group_by": "user"}).json()["results"] == []
    assert client.get(PATH, {"user": str(other.user.pk)}).json()["totals"]["calls"] == 0


def test_a_report_has_few_queries(client, viewer, django_assert_max_num_queries):
    use(viewer, user=viewer.user)
    client.get(PATH)

    with django_assert_max_num_queries(9):
        client.get(PATH, {"group_by": "user", "interval": "day"})
