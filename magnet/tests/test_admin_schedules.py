"""Schedules in the admin: the platform's, for superusers."""

import pytest

from accounts.tests.factories import UserFactory
from core.access import Role
from magnet.tests.admin_world import signed_in, url
from observability.models import Schedule
from observability.scheduling import schedules_ensure

pytestmark = pytest.mark.django_db


def text(response) -> str:
    return response.content.decode().replace("\u00a0", " ")


@pytest.fixture
def client():
    schedules_ensure()
    return signed_in(UserFactory(is_superuser=True, is_staff=True))


def named(name: str) -> Schedule:
    return Schedule._unscoped.get(name=name)


def act(client, action: str, *names: str) -> str:
    chosen = [named(name).pk for name in names]
    data = {"action": action, "_selected_action": chosen}
    return text(client.post(url("changelist", named("sweep")), data, follow=True))


def test_list_says_what_runs_when_and_how_it_went(client):
    Schedule._unscoped.filter(name="expired-sessions").update(
        zone="Europe/Paris",
        next_run_at="2026-06-01T01:17Z",
        started_at="2026-05-31T01:17Z",
        outcome="failed",
        error="The database was away.",
        duration_ms=1200,
        count=12,
    )

    page = text(client.get(url("changelist", named("sweep"))))

    for said in (
        "Remove expired sessions",
        "17 3 * * * (Europe/Paris)",
        "1 Jun 2026, 03:17 CEST",
        "31 May 2026, 01:17 UTC",
        "The database was away.",
        "1.2 s",
        "12 sessions",
        "every 15 s",
        "Not yet",
    ):
        assert said in page, said


def test_chosen_schedule_runs_now(client):
    assert "Queued: 1" in act(client, "run_now", "expired-sessions")
    assert named("expired-sessions").status == "queued"
    assert "Queued" in text(client.get(url("changelist", named("sweep"))))


def test_refusal_names_the_schedule_and_the_others_go_on(client):
    page = act(client, "switch_off", "sweep", "old-jobs")

    assert "Sweep: This runs every few seconds and keeps the platform alive; it cannot be changed." in page
    assert "Switched off: 1" in page
    assert [named("sweep").is_enabled, named("old-jobs").is_enabled] == [True, False]
    assert "Switched on: 1" in act(client, "switch_on", "old-jobs")
    assert named("old-jobs").next_run_at is not None


def test_plan_is_changed_in_its_form(client):
    row = named("old-jobs")

    client.post(url("change", row), {"cron": "5 6 * * 1", "zone": "Asia/Tokyo", "is_enabled": "on"})

    row.refresh_from_db()
    assert (row.cron, row.zone) == ("5 6 * * 1", "Asia/Tokyo")
    assert (row.next_run_at.weekday(), row.next_run_at.hour) == (6, 21)


def test_wrong_plan_comes_back_with_the_reason(client):
    row = named("old-jobs")

    page = text(client.post(url("change", row), {"cron": "soon", "zone": "UTC", "is_enabled": "on"}))

    assert "is not a cron expression" in page
    assert named("old-jobs").cron == "47 3 * * *"


def test_row_of_work_that_is_gone_shows_its_name(client):
    Schedule(name="gone", cron="0 0 * * *").save()

    assert "gone" in text(client.get(url("change", named("gone"))))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
def test_members_do_not_see_the_platforms_schedules(north, role):
    schedules_ensure()
    client = north.client(role)

    assert client.get(url("changelist", named("sweep"))).status_code == 403
    assert client.get(url("change", named("sweep"))).status_code == 403
    assert "Schedules" not in text(client.get("/admin/"))


def test_the_page_of_a_schedule_says_its_result_in_words(client):
    Schedule._unscoped.filter(name="expired-sessions").update(outcome="failed")

    page = text(client.get(url("change", named("expired-sessions"))))

    assert "Failed" in page
    assert "&#x27;failed&#x27;" not in page
