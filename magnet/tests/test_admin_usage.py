"""The usage page: figures, charts, filters, files, empty states."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import MembershipFactory
from core.access import Role
from magnet.tests.admin_world import World, signed_in
from observability.models import UsageRecord
from observability.usage import rollup

REPORT = reverse("admin:observability_usagerecord_report")


def use(world: World, ago: timedelta = timedelta(), **values) -> None:
    given = {"operation": "chat", "provider_slug": "p", "model_slug": "m", **values}
    UsageRecord(workspace=world.workspace, created_at=timezone.now() - ago, **given).save()


def text(response) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode().replace("\u00a0", " "))


def test_totals_show_what_was_used_a_moment_ago_and_what_is_added_up(north):
    use(north, timedelta(hours=30), input_tokens=300, cost=Decimal("0.5"), duration_ms=2000)
    rollup.roll_up()
    use(north, input_tokens=50, status="error")

    page = text(north.client(Role.VIEWER).get(REPORT))

    assert '<dt class="mg-muted">Calls</dt><dd><strong>3</strong>' in page
    assert "<strong>1 (33.3%)</strong>" in page
    assert "<strong>1,550 ≈</strong>" in page
    assert "<strong>0.50 USD</strong>" in page
    assert "Calls without a known price" in page
    assert "north-provider/north-chat" in page


@pytest.mark.parametrize("query", ["key=abc", "user=abc", "tool=abc"])
def test_a_filter_that_names_nothing_is_an_empty_period(north, query):
    assert north.client().get(f"{REPORT}?{query}").status_code == 200


def test_change_on_the_period_before(north):
    UsageRecord._unscoped.filter(workspace=north.workspace).delete()
    use(north, timedelta(hours=30), input_tokens=100)
    use(north, input_tokens=150)

    page = text(north.client().get(REPORT, {"period": "24h"}))

    assert "<strong>150</strong><span" in page
    assert "+50% on the period before" in page


def test_charts_have_a_bar_a_group_and_a_table_beside(north):
    use(north, model_slug="other", input_tokens=10)

    page = text(north.client().get(REPORT, {"by": "model", "zone": "Asia/Kolkata"}))

    assert page.count('<figure class="mg-section mg-chart"') == 3
    assert "north-provider/north-chat: 1,234</title>" in page
    assert "p/other: 10</title>" in page
    assert "1,244 in all" in page
    assert "IST" in page
    assert page.count("<table") == 2


@pytest.mark.parametrize("by", ["model", "tool", "key", "user", "provider", "operation", "status"])
def test_every_group_and_its_filter(north, by):
    client = north.client()
    use(north, user=north.principal.user, target_kind="rag_tool", target_slug="north-qa")

    page = text(client.get(REPORT, {"by": by}))
    links = re.findall(rf'<th scope="row"><a href="\?([^"]*&amp;{by}=[^"]*)"', page)

    assert links
    assert 'class="mg-tag"' in text(client.get(f"{REPORT}?{links[0].replace('&amp;', '&')}"))


def test_names_of_models_cannot_break_the_page(north):
    use(north, model_slug="<script>alert(1)</script>", provider_slug='"&x=')

    page = text(north.client().get(REPORT))

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    "query",
    [
        "zone=Mars",
        "period=own&since=x",
        "period=own&since=0001-01-02",
        "by=colour",
        "step=hour&period=own&since=2019-01-01",
        "model=%00",
        "csv=steps&key=%00",
    ],
)
def test_a_bad_address_says_what_is_wrong_and_shows_the_last_days(north, query):
    page = text(north.client().get(f"{REPORT}?{query}"))

    assert re.search(r"is no time zone|neither a date|is not known|More than|character NUL", page)
    assert "north-provider/north-chat" in page


def test_empty_periods_say_the_next_step(north):
    assert "No calls in this period" in text(north.client().get(REPORT, {"model": "p/none"}))

    UsageRecord._unscoped.filter(workspace=north.workspace).delete()
    page = text(north.client().get(REPORT))
    assert "No usage yet" in page
    assert reverse("admin:rag_ragtool_try") in page


@pytest.mark.parametrize("which, columns", [("groups", "tool"), ("steps", "start")])
@pytest.mark.django_db(transaction=False)
async def test_files_hold_the_rows(worlds, which, columns):
    from asgiref.sync import sync_to_async

    north = worlds[0]
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(north.member)(Role.VIEWER))

    answer = await client.get(REPORT, {"by": "tool", "csv": which})

    content = b"".join([piece async for piece in answer.streaming_content]).decode()
    (row,) = csv.DictReader(io.StringIO(content))
    assert (row["input_tokens"], row["tool_name"]) == ("1200", "without a tool")
    assert row[columns] == "" or row[columns].endswith("+00:00")


def test_nothing_of_another_workspace_and_nothing_for_users(worlds, north):
    south = worlds[1]

    assert "south-" not in text(north.client().get(REPORT, {"by": "user"}))
    assert str(south.principal.user) not in text(
        north.client().get(REPORT, {"by": "user", "user": str(south.principal.user.pk)})
    )
    plain = MembershipFactory(workspace=north.workspace, role=Role.USER)
    assert signed_in(plain.user).get(REPORT).status_code == 302


def test_more_groups_take_no_more_queries(north, django_assert_max_num_queries):
    client = north.client()
    for n in range(30):
        use(north, model_slug=f"m{n}", user=MembershipFactory(workspace=north.workspace).user)
    client.get(REPORT)

    with django_assert_max_num_queries(18):
        client.get(REPORT, {"by": "user"})
