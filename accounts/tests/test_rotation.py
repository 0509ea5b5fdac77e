"""Keys are followed by their successors without a moment in which none works."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.services import api_key_authenticate, api_key_rotate
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from core.exceptions import InvalidInput

pytestmark = pytest.mark.django_db


def works(text: str) -> bool:
    return APIClient().get("/api/v1/api-keys/", HTTP_X_API_KEY=text).status_code == 200


def session(member) -> APIClient:
    client = APIClient()
    client.force_login(member.user)
    return client


def rotate(client: APIClient, key: ApiKey, **body):
    return client.post(f"/api/v1/api-keys/{key.pk}/rotate", body)


def test_both_keys_work_until_the_overlap_ends(member, issue):
    key, old = issue(member, scopes=[Scope.READ, Scope.RUN])

    answer = rotate(session(member), key, overlap_seconds=3600)

    new = answer.json()["key"]
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["name"] == key.name
    assert answer.json()["scopes"] == ["read", "run"]
    assert answer.json()["expires_at"] is None
    assert (works(old), works(new), old != new) == (True, True, True)
    key.refresh_from_db()
    assert key.expires_at - timezone.now() == pytest.approx(timedelta(hours=1), abs=timedelta(minutes=1))
    ApiKey._unscoped.filter(pk=key.pk).update(expires_at=timezone.now())
    assert (works(old), works(new)) == (False, True)


def test_without_an_overlap_the_old_key_ends_at_once(member, issue):
    key, old = issue(member)

    new = rotate(session(member), key, overlap_seconds=0).json()["key"]

    assert (works(old), works(new)) == (False, True)


def test_the_overlap_is_a_day_when_nothing_is_said_and_never_prolongs_a_key(member, issue):
    lasting, _ = issue(member)
    ending, _ = issue(member, expires_at=timezone.now() + timedelta(hours=2))
    was = ending.expires_at

    rotate(session(member), lasting)
    successor = rotate(session(member), ending).json()

    lasting.refresh_from_db()
    ending.refresh_from_db()
    assert lasting.expires_at - timezone.now() == pytest.approx(timedelta(days=1), abs=timedelta(minutes=1))
    assert ending.expires_at == was
    born = ApiKey._unscoped.get(pk=successor["id"])
    assert born.expires_at - born.created_at == pytest.approx(timedelta(hours=2), abs=timedelta(minutes=1))


def test_a_key_rotates_itself_when_it_may_manage(member, issue):
    key, text = issue(member, scopes=[Scope.MANAGE])
    weak, weak_text = issue(member, scopes=[Scope.READ])
    client = APIClient()

    client.credentials(HTTP_X_API_KEY=text)
    assert rotate(client, key).status_code == 201
    assert rotate(client, weak).status_code == 403  # it would hand on a scope that it lacks
    client.credentials(HTTP_X_API_KEY=weak_text)
    assert rotate(client, weak).status_code == 403


def test_nobody_gets_the_key_of_somebody_else(member, issue):
    key, text = issue(member)
    admin = MembershipFactory(workspace=member.workspace, role=Role.ADMIN)

    assert rotate(session(admin), key).status_code == 403
    assert rotate(session(MembershipFactory(workspace=member.workspace)), key).status_code == 404
    assert rotate(session(MembershipFactory()), key).status_code == 404
    assert ApiKey._unscoped.count() == 1
    assert works(text)


@pytest.mark.parametrize("body", [{"overlap_seconds": -1}, {"overlap_seconds": 31 * 86_400}, {"overlap_seconds": "x"}])
def test_a_wrong_overlap_changes_nothing(member, issue, body):
    key, _text = issue(member)

    assert rotate(session(member), key, **body).status_code == 400
    assert ApiKey._unscoped.count() == 1


def test_a_key_that_has_ended_has_no_successor(member, issue):
    key, _ = issue(member)
    client = session(member)
    client.delete(f"/api/v1/api-keys/{key.pk}/")

    assert rotate(client, key).status_code == 409


def test_the_use_of_a_key_is_noted(member, issue):
    key, text = issue(member)
    assert key.last_used_at is None

    works(text)

    key.refresh_from_db()
    assert timezone.now() - key.last_used_at < timedelta(seconds=10)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_an_overlap_has_bounds(member, issue, overlap):
    key, text = issue(member)

    with pytest.raises(InvalidInput, match="0 to 30 days"):
        api_key_rotate(key, overlap=overlap)

    assert api_key_authenticate(text, "192.0.2.1") == key
