from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.keys import new_key, parse_key
from accounts.models import ApiKey, Membership, User, Workspace
from accounts.selectors import (
    keys_with_role,
    principal_for_key,
    principal_for_session,
    workspace_by_slug,
    workspaces_with_role,
)
from accounts.services import (
    api_key_authenticate,
    api_key_issue,
    api_key_revoke,
    command_user,
    first_admin_ensure,
    membership_set,
    workspace_create,
    workspace_rename,
)
from accounts.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory, principal_of
from core.access import Role, Scope
from core.exceptions import InvalidInput, NotFound, PermissionRefused, StaleVersion

pytestmark = pytest.mark.django_db


def test_a_key_proves_its_user_and_is_stored_as_a_hash_only(member, issue):
    key, text = issue(member)

    assert api_key_authenticate(text) == key
    assert text.startswith(f"mk_{key.public_id}_")
    assert parse_key(text).secret not in str(ApiKey._unscoped.filter(pk=key.pk).values().get())


@pytest.mark.parametrize("text", ["", "mk_", "mk_short_x", "Bearer x", "mk_" + "a" * 12 + "_" + "b" * 43, "x" * 5000])
def test_garbage_is_no_key(member, text):
    assert api_key_authenticate(text) is None


def test_another_secret_under_the_same_id_is_refused(member, issue):
    key, text = issue(member)
    forged = f"mk_{key.public_id}_{new_key().secret}"

    assert api_key_authenticate(forged) is None
    assert api_key_authenticate(text) == key


def test_a_revoked_key_is_refused(member, issue):
    key, text = issue(member)
    revoked_at = api_key_revoke(key).revoked_at

    assert api_key_authenticate(text) is None
    assert key.state == "revoked"
    assert api_key_revoke(key).revoked_at == revoked_at


def test_an_expired_key_is_refused(member, issue):
    key, text = issue(member, expires_at=timezone.now() + timedelta(hours=1))
    ApiKey._unscoped.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    key.refresh_from_db()
    assert key.state == "expired"
    assert api_key_authenticate(text) is None


def test_a_key_of_a_deactivated_user_is_refused(member, issue):
    _, text = issue(member)
    User.objects.filter(pk=member.user_id).update(is_active=False)

    assert api_key_authenticate(text) is None


def test_the_use_of_a_key_is_noted_once_a_minute(member, issue):
    key, text = issue(member)
    api_key_authenticate(text)
    first = ApiKey._unscoped.get(pk=key.pk).last_used_at
    api_key_authenticate(text)

    assert first is not None
    assert ApiKey._unscoped.get(pk=key.pk).last_used_at == first


def test_a_key_cannot_be_issued_outside_the_workspace_or_in_the_past(member):
    with pytest.raises(InvalidInput, match="has no role in the workspace"):
        api_key_issue(user=UserFactory(), workspace=member.workspace, name="x")
    with pytest.raises(InvalidInput, match="in the past"):
        api_key_issue(user=member.user, workspace=member.workspace, name="x", expires_at=timezone.now())

    assert not ApiKey._unscoped.exists()


def test_a_key_is_never_wider_than_its_user(member, issue):
    key, _ = issue(member, scopes=[Scope.READ, Scope.RUN])
    membership_set(workspace=member.workspace, user=member.user, role=Role.USER)

    principal = principal_for_key(keys_with_role().get(pk=key.pk))

    assert principal.role is Role.USER
    assert principal.scopes == {Scope.READ, Scope.RUN}
    assert principal.key_id == key.pk


def test_a_key_dies_with_the_membership(member, issue):
    key, _ = issue(member)
    member.delete()

    with pytest.raises(PermissionRefused, match="no longer belongs"):
        principal_for_key(keys_with_role().get(pk=key.pk))


def test_a_session_with_one_membership_needs_no_workspace(member):
    principal = principal_for_session(member.user, None)

    assert principal.workspace_id == member.workspace_id
    assert principal.workspace_slug == member.workspace.slug
    assert principal.role is Role.OPERATOR


def test_a_session_with_two_memberships_names_one(member):
    other = MembershipFactory(user=member.user, role=Role.VIEWER)

    with pytest.raises(InvalidInput, match=f"X-Workspace header.*{other.workspace.slug}"):
        principal_for_session(member.user, None)
    assert principal_for_session(member.user, other.workspace.slug).role is Role.VIEWER


def test_a_foreign_workspace_does_not_exist(member):
    with pytest.raises(NotFound):
        principal_for_session(member.user, WorkspaceFactory().slug)


def test_a_superuser_without_membership_has_no_rights():
    with pytest.raises(PermissionRefused, match="belong to no workspace"):
        principal_for_session(UserFactory(is_superuser=True), None)


def test_only_a_superuser_creates_a_workspace_and_becomes_its_admin():
    creator = UserFactory(is_superuser=True)

    workspace = workspace_create(actor=creator, name="Sales", slug="sales")

    assert Membership.objects.get(workspace=workspace).role == Role.ADMIN
    with pytest.raises(PermissionRefused):
        workspace_create(actor=UserFactory(), name="X", slug="x")
    assert not Workspace.objects.filter(slug="x").exists()


def test_a_workspace_slug_may_not_look_like_an_id():
    with pytest.raises(ValidationError, match="look like an id"):
        Workspace(name="X", slug="0192f0c8-7a6b-7000-8000-000000000000").full_clean()


def test_renaming_takes_an_admin_and_the_right_version(member):
    with pytest.raises(PermissionRefused):
        workspace_rename(member.workspace, principal=principal_of(member), name="New")
    membership_set(workspace=member.workspace, user=member.user, role=Role.ADMIN)
    member.refresh_from_db()

    renamed = workspace_rename(member.workspace, principal=principal_of(member), name="New", expected=1)

    assert (renamed.name, renamed.version) == ("New", 2)
    with pytest.raises(StaleVersion, match="at version 2; you edited version 1"):
        workspace_rename(member.workspace, principal=principal_of(member), name="Newer", expected=1)
    assert Workspace.objects.get(pk=renamed.pk).name == "New"


def test_the_first_admin_is_made_once():
    assert first_admin_ensure(email="admin@localhost", password="secret words") is True
    assert first_admin_ensure(email="other@localhost", password="x") is False

    admin = User.objects.get()
    assert admin.is_superuser
    assert admin.check_password("secret words")
    assert Membership.objects.get(user=admin).role == Role.ADMIN
    assert workspace_by_slug("default").name == "Default"


def test_commands_act_for_the_first_superuser_or_the_one_named():
    workspace = WorkspaceFactory()
    with pytest.raises(NotFound, match="no superuser yet"):
        command_user(None, workspace)
    boss = UserFactory(is_superuser=True)
    person = UserFactory(email="Ann@Example.org")

    assert command_user(None, workspace) == boss
    assert Membership.objects.get(user=boss).role == Role.ADMIN
    assert command_user(None, workspace) == boss
    assert command_user("ann@example.org", workspace) == person
    with pytest.raises(NotFound, match="no active user 'nobody'"):
        command_user("nobody", workspace)


def test_an_unknown_workspace_is_said_so():
    with pytest.raises(NotFound, match="no workspace 'x'"):
        workspace_by_slug("x")


def test_workspaces_with_at_least_a_role(member):
    viewer = MembershipFactory(user=member.user, role=Role.VIEWER)

    assert workspaces_with_role(member.user, Role.OPERATOR) == [member.workspace_id]
    assert set(workspaces_with_role(member.user, Role.VIEWER)) == {member.workspace_id, viewer.workspace_id}


def test_addresses_are_one_person_in_any_case():
    UserFactory(email="ann@example.org")

    with pytest.raises(IntegrityError), transaction.atomic():
        UserFactory(email="ANN@example.org")
    assert User.objects.get_by_natural_key("Ann@Example.org").email == "ann@example.org"


def test_rows_name_themselves(member, issue):
    key, text = issue(member)

    assert str(member) == f"{member.user} in {member.workspace}: operator"
    assert str(key) == f"test (mk_{key.public_id}_…)"
    assert str(User(email="a@b.c")) == "a@b.c"
    assert parse_key(text).secret not in str(key)
