"""Adding people to a workspace by their e-mail address."""

from django.db import transaction

from accounts.models import Membership, User, Workspace
from accounts.services import membership_set
from core.access import Permission, Principal, Role
from core.exceptions import Conflict, InvalidInput


@transaction.atomic
def member_add(*, principal: Principal, email: str, role: Role) -> Membership:
    """Give the person with this address a role in the caller's workspace.

    Raises Conflict for a member, InvalidInput for an address without an active account.
    """
    principal.require(Permission.ADMINISTER)
    user = User.objects.filter(email__iexact=email).first()
    if user is None or not user.is_active:
        raise InvalidInput("Nobody with this address has an active account here.")
    if Membership.objects.filter(workspace_id=principal.workspace_id, user=user).exists():
        raise Conflict(f"{user.email} is a member already.", hint="Change the role of the member.")
    workspace = Workspace.objects.get(pk=principal.workspace_id)
    return membership_set(workspace=workspace, user=user, role=role)
