"""Which workspace a signed-in person looks at: chosen in a switcher, kept in the session."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest

from accounts.models import Membership, User
from accounts.selectors import memberships_of
from core.access import Principal, Role

SESSION_KEY = "workspace"
MAX_WORKSPACES = 200


def memberships_in(request: HttpRequest) -> Sequence[Membership]:
    """The memberships of the signed-in person, by workspace name; read once a request."""
    known: Sequence[Membership] | None = getattr(request, "_magnet_memberships", None)
    if known is None:
        user = request.user
        known = list(memberships_of(user)[:MAX_WORKSPACES]) if isinstance(user, User) and user.is_active else []
        request._magnet_memberships = known  # type: ignore[attr-defined]
    return known


def current_membership(request: HttpRequest, least: Role = Role.USER) -> Membership | None:
    """The membership of the chosen workspace, else the first one with at least this role; None without any."""
    enough = [one for one in memberships_in(request) if Role(one.role).rank >= least.rank]
    chosen = request.session.get(SESSION_KEY)
    return next((one for one in enough if one.workspace.slug == chosen), enough[0] if enough else None)


def current_principal(request: HttpRequest, least: Role = Role.USER) -> Principal | None:
    """The signed-in person in the current workspace, for doors that use the session."""
    membership = current_membership(request, least)
    if membership is None:
        return None
    return Principal(
        user=request.user,
        workspace_id=membership.workspace_id,
        workspace_slug=membership.workspace.slug,
        role=Role(membership.role),
    )


def choose_workspace(request: HttpRequest, slug: str) -> bool:
    """Remember the workspace. False for one that this person does not belong to; nothing changes then."""
    if all(one.workspace.slug != slug for one in memberships_in(request)):
        return False
    request.session[SESSION_KEY] = slug
    return True


def workspace_context(request: HttpRequest) -> dict[str, Any]:
    """For templates: the current workspace and those to choose from. A context processor."""
    if not hasattr(request, "session") or not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    membership = current_membership(request)
    return {
        "workspace": membership.workspace if membership else None,
        "workspace_role": Role(membership.role) if membership else None,
        "workspaces": [one.workspace for one in memberships_in(request)],
    }
