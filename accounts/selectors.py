"""Reads of people and their rights."""

import uuid
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from accounts.models import ApiKey, Membership, User, Workspace
from core.access import Principal, Role, Scope
from core.compiled import Compiled
from core.exceptions import InvalidInput, NotFound, PermissionRefused


def memberships_of(user: User) -> QuerySet[Membership]:
    return Membership.objects.filter(user=user).select_related("workspace").order_by("workspace__name", "id")


def members_of(principal: Principal) -> QuerySet[Membership]:
    """The members of the caller's workspace."""
    return Membership.objects.filter(workspace_id=principal.workspace_id).select_related("user", "workspace")


def principal_for_session(user: User, workspace_slug: str | None) -> Principal:
    """The caller behind a session. The workspace may be left out by somebody who belongs to exactly one.

    Raises NotFound for a workspace that the user does not belong to, InvalidInput when it must be named.
    """
    memberships = list(memberships_of(user)[:200])
    if workspace_slug is not None:
        memberships = [m for m in memberships if m.workspace.slug == workspace_slug]
        if not memberships:
            raise NotFound(f"There is no workspace '{workspace_slug}' for you.")
    if not memberships:
        raise PermissionRefused("You belong to no workspace.", hint="Ask an admin of a workspace to add you.")
    if len(memberships) > 1:
        slugs = ", ".join(m.workspace.slug for m in memberships)
        raise InvalidInput("You belong to several workspaces.", hint=f"Name one in the X-Workspace header: {slugs}.")
    return _principal(user, memberships[0].workspace, memberships[0].role)


def keys_with_role() -> QuerySet[ApiKey]:
    """Keys with all that says what they may do: their user, their workspace, and the user's `role` in it."""
    role = Membership.objects.filter(user=OuterRef("user"), workspace=OuterRef("workspace")).values("role")
    keys: QuerySet[ApiKey] = ApiKey._unscoped.select_related("user", "workspace").annotate(role=Subquery(role))
    return keys


def principal_for_key(key: ApiKey) -> Principal:
    """The caller behind one of `keys_with_role`: its user's role in its workspace, narrowed by its scopes."""
    role: str | None = key.role
    if role is None:
        raise PermissionRefused("The user of this API key no longer belongs to its workspace.")
    return _principal(key.user, key.workspace, role, key)


@Compiled
def key_by_public_id(public_id: Any) -> QuerySet[ApiKey]:
    """The key of `keys_with_role` whose text begins with this."""
    return keys_with_role().filter(public_id=public_id)


@Compiled
def _key_of_active_user(pk: Any) -> QuerySet[ApiKey]:
    return keys_with_role().filter(pk=pk, user__is_active=True)


def live_key(key_id: uuid.UUID) -> ApiKey | None:
    """The key, while it and its user are active."""
    key = _key_of_active_user.first(pk=key_id)
    return key if key is not None and key.state == "active" else None


def user_of_session(session_key: str) -> User | None:
    """Who is signed in with this session now: nobody after logging out, a new password or a deactivation."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) else None


def may_work(user_id: uuid.UUID, workspace_id: uuid.UUID) -> bool:
    """Whether what this person has asked for may still begin: active, and a member of the workspace."""
    return Membership.objects.filter(user_id=user_id, workspace_id=workspace_id, user__is_active=True).exists()


def _principal(user: User, workspace: Workspace, role: str, key: ApiKey | None = None) -> Principal:
    return Principal(
        user=user,
        workspace_id=workspace.pk,
        workspace_slug=workspace.slug,
        role=Role(role),
        scopes=frozenset(Scope) if key is None else frozenset(Scope(scope) for scope in key.scopes),
        key_id=None if key is None else key.pk,
        tools=frozenset() if key is None else frozenset(key.tools),
    )


def workspaces_with_role(user: User, role: Role) -> list[uuid.UUID]:
    """Ids of the workspaces in which the user has this role or a higher one."""
    roles = [known.value for known in Role if known.rank >= role.rank]
    return list(Membership.objects.filter(user=user, role__in=roles).values_list("workspace_id", flat=True))


def workspace_by_slug(slug: str) -> Workspace:
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        raise NotFound(f"There is no workspace '{slug}'.")
    return workspace


def system_principal(workspace_id: uuid.UUID) -> Principal:
    """The platform itself as an admin of this workspace, for seeds; nobody's user."""
    workspace = Workspace.objects.get(pk=workspace_id)
    return Principal(user=None, workspace_id=workspace.pk, workspace_slug=workspace.slug, role=Role.ADMIN)
