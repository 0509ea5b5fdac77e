import uuid
from types import SimpleNamespace

import pytest

from core.access import Permission, Principal, Role, Scope
from core.exceptions import PermissionRefused

OWN = {Permission.RUN, Permission.READ_OWN, Permission.MANAGE_OWN}


def principal(role=Role.OPERATOR, scopes=frozenset(Scope)):
    user = SimpleNamespace(pk=uuid.uuid4())
    return Principal(user=user, workspace_id=uuid.uuid4(), workspace_slug="w", role=role, scopes=frozenset(scopes))


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.USER, OWN),
        (Role.VIEWER, OWN | {Permission.READ, Permission.MODELS}),
        (Role.OPERATOR, OWN | {Permission.READ, Permission.MODELS, Permission.INGEST, Permission.MANAGE}),
        (Role.ADMIN, set(Permission)),
    ],
)
def test_each_role_has_exactly_its_rights(role, allowed):
    assert {permission for permission in Permission if principal(role).allows(permission)} == allowed


def test_a_key_without_the_scope_is_refused_by_its_name():
    caller = principal(Role.ADMIN, {Scope.READ})

    assert not caller.allows(Permission.MANAGE)
    with pytest.raises(PermissionRefused, match="lacks the scope 'manage'"):
        caller.require(Permission.MANAGE)


def test_a_role_that_is_too_low_is_refused_by_its_name():
    with pytest.raises(PermissionRefused, match="needs the role 'admin' in the workspace; yours is 'operator'"):
        principal().require(Permission.ADMINISTER)


def test_what_is_allowed_passes():
    caller = principal()

    assert caller.require(Permission.MANAGE) is None
    assert caller.user_id == caller.user.pk
