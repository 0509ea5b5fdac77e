"""The admin of access: who enters, what they see, what they may change."""

import re
import uuid

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.services import api_key_authenticate, api_key_issue
from accounts.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory
from core.access import Role
from prompts.models import PromptTemplate

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def workspace() -> Workspace:
    return WorkspaceFactory(name="North", slug="north")


@pytest.fixture
def boss(workspace: Workspace) -> User:
    return MembershipFactory(workspace=workspace, role=Role.ADMIN).user


@pytest.mark.parametrize(
    ("role", "status", "target"),
    [
        (Role.USER, 302, "/admin/login/?next=/admin/"),
        (Role.VIEWER, 200, None),
        (Role.OPERATOR, 200, None),
        (Role.ADMIN, 200, None),
    ],
)
def test_role_opens_the_admin(workspace, role, status, target):
    client = signed_in(MembershipFactory(workspace=workspace, role=role).user)

    response = client.get("/admin/")

    assert response.status_code == status
    assert response.headers.get("Location") == target


def test_nobody_signed_in_goes_to_the_one_sign_in_page():
    response = Client().get("/admin/login/?next=/admin/accounts/apikey/")

    assert response.status_code == 302
    assert response["Location"] == "/panel/login/?next=%2Fadmin%2Faccounts%2Fapikey%2F"


def test_user_who_may_not_enter_is_sent_to_the_panel(workspace):
    client = signed_in(MembershipFactory(workspace=workspace, role=Role.USER).user)

    response = client.get("/admin/login/?next=/admin/")

    assert response["Location"] == "/panel/"


def test_login_never_redirects_to_another_site(boss):
    response = signed_in(boss).get("/admin/login/?next=https://evil.example/")

    assert response["Location"] == "/admin/"


def test_inactive_member_is_out(boss):
    client = signed_in(boss)
    User.objects.filter(pk=boss.pk).update(is_active=False)

    assert client.get("/admin/").status_code == 302


def test_log_out_ends_the_session(boss):
    client = signed_in(boss)

    assert client.post("/admin/logout/")["Location"] == "/panel/login/"
    assert client.get("/admin/").status_code == 302


def test_switcher_changes_the_workspace(boss, workspace):
    other = MembershipFactory(user=boss, role=Role.VIEWER, workspace=WorkspaceFactory(slug="south", name="South"))
    MembershipFactory(workspace=other.workspace, user=UserFactory(email="only-south@example.org"))
    client = signed_in(boss)
    assert "only-south" not in client.get("/admin/accounts/membership/").content.decode()

    client.post("/admin/workspace/", {"workspace": "south"})

    assert "only-south" in client.get("/admin/accounts/membership/").content.decode()


def test_switcher_refuses_a_foreign_workspace(boss):
    MembershipFactory(workspace=WorkspaceFactory(slug="foreign"), user=UserFactory(email="stranger@example.org"))
    client = signed_in(boss)

    client.post("/admin/workspace/", {"workspace": "foreign"})

    assert "stranger" not in client.get("/admin/accounts/membership/").content.decode()


def test_superuser_without_membership_creates_the_first_workspace():
    root = User.objects.create_superuser("root@example.org", "correct horse battery")
    client = signed_in(root)
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/accounts/apikey/").status_code == 403

    response = client.post("/admin/accounts/workspace/add/", {"name": "First", "slug": "first"})

    assert response.status_code == 302
    assert Membership.objects.get(user=root).role == Role.ADMIN


def test_admin_renames_only_the_workspace_that_is_current(boss, workspace):
    other = MembershipFactory(
        user=boss, role=Role.ADMIN, workspace=WorkspaceFactory(slug="zulu", name="Zulu")
    ).workspace
    client = signed_in(boss)
    here = reverse("admin:accounts_workspace_change", args=[workspace.pk])
    there = reverse("admin:accounts_workspace_change", args=[other.pk])

    assert client.post(here, {"name": "Nord", "expected_version": workspace.version}).status_code == 302
    assert client.post(there, {"name": "Süd", "expected_version": other.version}).status_code == 403

    workspace.refresh_from_db()
    other.refresh_from_db()
    assert (workspace.name, workspace.version, other.name) == ("Nord", 2, "Zulu")


def test_stale_save_shows_the_conflict_and_keeps_the_input(boss, workspace):
    client = signed_in(boss)
    url = reverse("admin:accounts_workspace_change", args=[workspace.pk])
    client.post(url, {"name": "Theirs", "expected_version": 1})

    response = client.post(url, {"name": "Mine", "expected_version": 1})

    page = response.content.decode()
    assert response.status_code == 409
    assert "Somebody else saved this while you were editing" in page
    assert "Name is now: Theirs" in page
    assert 'value="Mine"' in page
    assert 'name="expected_version" value="2"' in page
    workspace.refresh_from_db()
    assert workspace.name == "Theirs"


def test_saving_again_after_a_conflict_replaces(boss, workspace):
    client = signed_in(boss)
    url = reverse("admin:accounts_workspace_change", args=[workspace.pk])
    client.post(url, {"name": "Theirs", "expected_version": 1})

    response = client.post(url, {"name": "Mine", "expected_version": 2})

    workspace.refresh_from_db()
    assert response.status_code == 302
    assert workspace.name == "Mine"


def test_member_is_added_by_address(boss, workspace):
    UserFactory(email="new@example.org")

    signed_in(boss).post("/admin/accounts/membership/add/", {"email": "NEW@example.org", "role": "operator"})

    assert Membership.objects.get(user__email="new@example.org").role == Role.OPERATOR


def test_deactivated_account_is_explained_on_the_form(boss):
    UserFactory(email="no@example.org", is_active=False)

    response = signed_in(boss).post("/admin/accounts/membership/add/", {"email": "no@example.org", "role": "user"})

    assert response.status_code == 200
    assert "The account of no@example.org is deactivated." in response.content.decode()


def test_last_admin_cannot_leave_or_step_down(boss, workspace):
    membership = Membership.objects.get(user=boss)
    client = signed_in(boss)

    demoted = client.post(reverse("admin:accounts_membership_change", args=[membership.pk]), {"role": "user"})
    removed = client.post(
        reverse("admin:accounts_membership_delete", args=[membership.pk]), {"post": "yes"}, follow=True
    )

    assert "last admin" in demoted.content.decode()
    assert "last admin" in removed.content.decode()
    membership.refresh_from_db()
    assert membership.role == Role.ADMIN


def test_admin_changes_and_removes_a_member(boss, workspace):
    member = MembershipFactory(workspace=workspace, role=Role.USER)
    client = signed_in(boss)

    client.post(reverse("admin:accounts_membership_change", args=[member.pk]), {"role": "viewer"})
    member.refresh_from_db()
    assert member.role == Role.VIEWER

    client.post(
        "/admin/accounts/membership/", {"action": "delete_selected", "_selected_action": member.pk, "post": "yes"}
    )
    assert not Membership.objects.filter(pk=member.pk).exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_members_are_changed_by_admins_only(workspace, role):
    client = signed_in(MembershipFactory(workspace=workspace, role=role).user)

    assert client.get("/admin/accounts/membership/").status_code == 200
    assert client.get("/admin/accounts/membership/add/").status_code == 403


def test_people_are_managed_by_superusers_only(boss):
    assert signed_in(boss).get("/admin/accounts/user/").status_code == 403


def test_superuser_creates_a_person_who_can_sign_in():
    root = User.objects.create_superuser("root@example.org", "correct horse battery")

    response = signed_in(root).post(
        "/admin/accounts/user/add/",
        {"email": "ann@example.org", "name": "Ann", "new_password": "a long enough secret", "is_active": "on"},
    )

    assert response.status_code == 302
    assert Client().login(username="ann@example.org", password="a long enough secret")


def test_empty_password_keeps_the_present_one():
    root = User.objects.create_superuser("root@example.org", "correct horse battery")
    ann = UserFactory(email="ann@example.org")

    response = signed_in(root).post(
        reverse("admin:accounts_user_change", args=[ann.pk]),
        {"email": "ann@example.org", "name": "Anna", "new_password": "", "is_active": "on"},
    )

    ann.refresh_from_db()
    assert response.status_code == 302
    assert ann.name == "Anna"
    assert ann.check_password("correct horse battery")


def test_weak_password_is_refused():
    root = User.objects.create_superuser("root@example.org", "correct horse battery")

    response = signed_in(root).post(
        "/admin/accounts/user/add/", {"email": "a@example.org", "new_password": "12345", "is_active": "on"}
    )

    assert "too short" in response.content.decode()
    assert not User.objects.filter(email="a@example.org").exists()


def test_superuser_cannot_lock_themselves_out():
    root = User.objects.create_superuser("root@example.org", "correct horse battery")

    response = signed_in(root).post(
        reverse("admin:accounts_user_change", args=[root.pk]), {"email": "root@example.org", "is_active": "on"}
    )

    assert "You cannot switch off your own account or rights." in response.content.decode()
    root.refresh_from_db()
    assert root.is_superuser


def test_new_key_is_shown_once_and_works(boss):
    client = signed_in(boss)

    response = client.post("/admin/accounts/apikey/add/", {"name": "ci", "scopes": ["read", "run"], "lifetime": "30"})

    key = ApiKey._unscoped.get()
    text = response.context_data["key_text"]
    assert text in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert api_key_authenticate(text) == key
    assert key.scopes == ["read", "run"]
    secret = text.split("_", 2)[2]
    assert secret not in client.get(reverse("admin:accounts_apikey_change", args=[key.pk])).content.decode()
    assert secret not in client.get("/admin/accounts/apikey/").content.decode()
    assert secret not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_key_is_revoked_after_a_question(boss, workspace):
    issued = api_key_issue(user=boss, workspace=workspace, name="old")
    client = signed_in(boss)
    url = reverse("admin:accounts_apikey_revoke", args=[issued.key.pk])

    assert "Revoke “old”?" in client.get(url).content.decode()
    assert api_key_authenticate(issued.text) is not None
    client.post(url)

    assert api_key_authenticate(issued.text) is None


def test_chosen_keys_are_revoked_together(boss, workspace):
    keys = [api_key_issue(user=boss, workspace=workspace, name=name) for name in ("a", "b")]

    signed_in(boss).post(
        "/admin/accounts/apikey/", {"action": "revoke_chosen", "_selected_action": [k.key.pk for k in keys]}
    )

    assert [api_key_authenticate(k.text) for k in keys] == [None, None]


def test_member_sees_own_keys_only(boss, workspace):
    viewer = MembershipFactory(workspace=workspace, role=Role.VIEWER).user
    theirs = api_key_issue(user=boss, workspace=workspace, name="boss-key")
    api_key_issue(user=viewer, workspace=workspace, name="viewer-key")
    client = signed_in(viewer)

    page = client.get("/admin/accounts/apikey/").content.decode()

    assert "viewer-key" in page
    assert "boss-key" not in page
    assert client.post(reverse("admin:accounts_apikey_revoke", args=[theirs.key.pk])).status_code == 404
    assert api_key_authenticate(theirs.text) is not None


def test_a_key_that_was_not_used_and_does_not_end_says_so(boss, workspace):
    issued = api_key_issue(user=boss, workspace=workspace, name="quiet")
    client = signed_in(boss)

    for page in ("/admin/accounts/apikey/", reverse("admin:accounts_apikey_change", args=[issued.key.pk])):
        assert len(re.findall(r">\s*never\s*<", client.get(page).content.decode())) == 2

    api_key_authenticate(issued.text)
    assert len(re.findall(r">\s*never\s*<", client.get("/admin/accounts/apikey/").content.decode())) == 1


def test_key_of_another_workspace_does_not_exist(boss):
    other = MembershipFactory(role=Role.ADMIN)
    foreign = api_key_issue(user=other.user, workspace=other.workspace, name="foreign-key").key
    client = signed_in(boss)

    for page in ("change", "history", "delete"):
        response = client.get(reverse(f"admin:accounts_apikey_{page}", args=[foreign.pk]))
        assert (page, response.status_code) in {("change", 302), ("history", 302), ("delete", 302), ("delete", 403)}
    assert "foreign-key" not in client.get("/admin/accounts/apikey/?q=foreign").content.decode().replace(
        'value="foreign"', ""
    )
    client.post("/admin/accounts/apikey/", {"action": "revoke_chosen", "_selected_action": [foreign.pk]})
    foreign.refresh_from_db()
    assert foreign.revoked_at is None


def test_view_on_site_is_gone(boss):
    """Django's shortcut answers differently for ids that exist, whatever their workspace."""
    assert "view_on_site" not in {getattr(url, "name", None) for url in admin.site.get_urls()}


def test_list_of_members_needs_few_queries(boss, workspace, django_assert_max_num_queries):
    MembershipFactory.create_batch(20, workspace=workspace)
    client = signed_in(boss)

    with django_assert_max_num_queries(12):
        client.get("/admin/accounts/membership/")


def test_page_of_a_key_names_its_tools_and_counts_what_is_deleted(boss, workspace):
    tool = PromptTemplate(workspace=workspace, name="Translate", slug="translate")
    tool.save()
    issued = api_key_issue(user=boss, workspace=workspace, name="app", tools=[tool.pk, uuid.uuid4()])
    page = reverse("admin:accounts_apikey_change", args=[issued.key.pk])

    assert "Translate, 1 deleted" in signed_in(boss).get(page).content.decode()
