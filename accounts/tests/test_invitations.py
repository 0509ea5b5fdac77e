"""Inviting people who have no account, by mail or by a link that a superuser hands over."""

import json

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.members import invitation_renew, member_add
from accounts.models import AuditEvent, Membership, User
from accounts.services import api_key_issue, membership_change, membership_remove, membership_set
from accounts.tasks import send_invitation
from accounts.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory, principal_of
from accounts.tests.test_passwords import NEW, set_with, signs_in
from core.access import Role
from core.exceptions import Conflict

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return MembershipFactory(user=UserFactory(email="ann@example.org"), role=Role.USER).user


def admin_of(workspace, **user) -> Membership:
    return MembershipFactory(role=Role.ADMIN, workspace=workspace, user=UserFactory(**user))


def boss_of(workspace) -> Membership:
    return admin_of(workspace, is_superuser=True)


def invited_by(admin: Membership, role: Role = Role.USER):
    return member_add(principal=principal_of(admin), email="new@example.org", role=role)


def told_of(user: User) -> list[str]:
    events = AuditEvent.objects.filter(action="invite", object_id=user.pk).order_by("id")
    return [event.changes["invitation"]["after"] for event in events]


def test_an_unknown_address_is_invited_with_a_link_that_a_superuser_sees_once():
    added = invited_by(boss_of(WorkspaceFactory()))

    assert not added.membership.user.has_usable_password()
    assert not signs_in("new@example.org", "")
    assert set_with(added.invitation_link.partition("#")[2]).status_code == 302
    assert signs_in("new@example.org", NEW)
    assert told_of(added.membership.user) == ["link shown"]


def test_an_admin_of_a_workspace_never_holds_the_password_of_somebody_else():
    """It would open every workspace that takes this person in later, by the address that it trusts."""
    admin = admin_of(WorkspaceFactory())

    added = invited_by(admin)

    assert (added.invitation_link, added.invitation_mailed, added.waits) == ("", False, True)
    with pytest.raises(Conflict, match="No mail can be sent") as refused:
        invitation_renew(added.membership, principal=principal_of(admin))
    assert "manage.py reset_password" in str(refused.value.hint)
    assert told_of(added.membership.user) == ["waits"]


def test_a_superuser_hands_over_what_waits(capsys):
    workspace = WorkspaceFactory()
    waiting = invited_by(admin_of(workspace)).membership

    again = invitation_renew(waiting, principal=principal_of(boss_of(workspace)))
    call_command("reset_password", "new@example.org")

    assert set_with(capsys.readouterr().out.strip().partition("#")[2]).status_code == 302
    assert set_with(again.invitation_link.partition("#")[2]).status_code == 400
    assert signs_in("new@example.org", NEW)


@pytest.mark.parametrize("change", ["joins", "leaves", "superuser", "role"])
def test_an_invitation_opens_no_more_than_it_was_made_for(change):
    added = invited_by(boss_of(WorkspaceFactory()))
    user = added.membership.user
    if change == "joins":
        membership_set(workspace=WorkspaceFactory(), user=user, role=Role.USER)
    elif change == "leaves":
        membership_remove(added.membership)
    elif change == "superuser":
        User.objects.filter(pk=user.pk).update(is_superuser=True)
    else:
        membership_change(added.membership, role=Role.VIEWER)

    answer = set_with(added.invitation_link.partition("#")[2])

    assert answer.status_code == (302 if change == "role" else 400)
    user.refresh_from_db()
    assert user.has_usable_password() is (change == "role")


@pytest.mark.parametrize("used", [{"last_login": timezone.now()}, {"is_superuser": True}], ids=["was active", "boss"])
def test_no_invitation_is_shown_for_an_account_that_is_more_than_new(used):
    boss = boss_of(WorkspaceFactory())
    added = invited_by(boss)
    User.objects.filter(pk=added.membership.user_id).update(**used)
    membership = Membership.objects.get(pk=added.membership.pk)

    with pytest.raises(Conflict, match="No mail can be sent"):
        invitation_renew(membership, principal=principal_of(boss))


def test_with_a_mail_server_the_link_is_mailed_and_not_shown(post_office):
    admin = admin_of(WorkspaceFactory())

    added = member_add(principal=principal_of(admin), email="new@example.org", role=Role.USER)
    send_invitation(str(added.membership.user_id))

    assert (added.invitation_mailed, added.invitation_link) == (True, "")
    (letter,) = post_office.mails
    assert letter["To"] == "new@example.org"
    assert told_of(added.membership.user) == ["mailed"]


def test_nobody_is_shown_the_way_into_an_account_of_another_workspace():
    """Whoever sees the link could use it, and would have the rights of the person everywhere."""
    first, second = boss_of(WorkspaceFactory()), boss_of(WorkspaceFactory())
    invited = member_add(principal=principal_of(first), email="new@example.org", role=Role.ADMIN).membership

    added = member_add(principal=principal_of(second), email="new@example.org", role=Role.USER)

    assert added.invitation_link == ""
    for membership, admin in ((added.membership, second), (invited, first)):
        with pytest.raises(Conflict):
            invitation_renew(membership, principal=principal_of(admin))


def test_whoever_has_an_account_is_not_invited_again(ann):
    admin = admin_of(ann.workspaces.get())

    with pytest.raises(Conflict, match="a member already"):
        member_add(principal=principal_of(admin), email="ann@example.org", role=Role.USER)
    with pytest.raises(Conflict, match="has an account already"):
        invitation_renew(ann.memberships.get(), principal=principal_of(admin))


def test_the_api_adds_changes_and_removes_members_and_keeps_the_last_admin():
    admin = boss_of(WorkspaceFactory())
    issued = api_key_issue(user=admin.user, workspace=admin.workspace, name="x")
    client = Client(headers={"Authorization": f"Bearer {issued.text}", "If-Match": "*"})

    def call(method: str, path: str = "", body: dict | None = None):
        return client.generic(method, f"/api/v1/members/{path}", json.dumps(body or {}), "application/json")

    made = call("POST", body={"email": "new@example.org", "role": "user"})
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert "#" in made.json()["invitation_link"]
    one = made.json()["id"]
    assert "invitation_link" not in call("GET", f"{one}/").json()
    assert call("POST", body={"email": "new@example.org", "role": "admin"}).status_code == 409
    assert call("PATCH", f"{one}/", {"role": "operator", "email": "other@example.org"}).json()["role"] == "operator"
    assert call("PATCH", f"{admin.pk}/", {"role": "user"}).status_code == 409
    assert call("DELETE", f"{admin.pk}/").status_code == 409
    assert call("DELETE", f"{one}/").status_code == 204
    assert list(Membership.objects.values_list("user__email", "role")) == [(admin.user.email, "admin")]


def test_the_admin_shows_the_invitation_once():
    boss = boss_of(WorkspaceFactory())
    browser = Client()
    browser.force_login(boss.user)

    page = browser.post("/admin/accounts/membership/add/", {"email": "new@example.org", "role": "user"})
    assert "A link for new@example.org" in page.content.decode()
    invite = f"/admin/accounts/membership/{Membership.objects.get(role='user').pk}/invite/"
    again = browser.post(invite)
    assert "set#" in again.content.decode()

    membership_set(workspace=WorkspaceFactory(), user=User.objects.get(email="new@example.org"), role=Role.USER)
    assert browser.post(invite).status_code == 302


def test_the_admin_says_who_helps_where_no_mail_can_be_sent():
    browser = Client()
    browser.force_login(admin_of(WorkspaceFactory()).user)

    page = browser.post("/admin/accounts/membership/add/", {"email": "new@example.org", "role": "user"}, follow=True)
    again = browser.post(f"/admin/accounts/membership/{Membership.objects.get(role='user').pk}/invite/", follow=True)

    for told in (page, again):
        text = told.content.decode()
        assert "No mail can be sent to new@example.org" in text
        assert "manage.py reset_password" in text
        assert "set#" not in text
