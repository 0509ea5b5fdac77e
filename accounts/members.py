"""Adding people to a workspace by their e-mail address, and inviting those who have no account."""

from dataclasses import dataclass

from django.db import transaction

from accounts.links import Purpose, link_for
from accounts.mail import can_mail
from accounts.models import Membership, User, Workspace
from accounts.services import membership_set
from core.access import Permission, Principal, Role
from core.audit import audit
from core.exceptions import Conflict, InvalidInput
from core.queue import enqueue


@dataclass(frozen=True)
class AddedMember:
    """A new member. invitation_link: to hand over, when the person has no password and no mail could be sent."""

    membership: Membership
    invitation_mailed: bool = False
    invitation_link: str = ""


@transaction.atomic
def member_add(*, principal: Principal, email: str, role: Role) -> AddedMember:
    """Give the person with this address a role in the caller's workspace. Somebody without an account is invited.

    Raises Conflict for a member, InvalidInput for a deactivated account.
    """
    principal.require(Permission.ADMINISTER)
    workspace = Workspace.objects.get(pk=principal.workspace_id)
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        user = User.objects.create_user(email)
        audit("invite", user, workspace_id=workspace.pk)
    elif not user.is_active:
        raise InvalidInput(f"The account of {user.email} is deactivated.", hint="A superuser can activate it.")
    elif Membership.objects.filter(workspace=workspace, user=user).exists():
        raise Conflict(f"{user.email} is a member already.", hint="Change the role of the member.")
    return _invited(membership_set(workspace=workspace, user=user, role=role))


@transaction.atomic
def invitation_renew(membership: Membership, *, principal: Principal) -> AddedMember:
    """Invite a member again who has set no password yet. Raises Conflict for everybody else."""
    principal.require(Permission.ADMINISTER)
    added = _invited(membership)
    if not (added.invitation_mailed or added.invitation_link):
        raise Conflict(
            f"{membership.user.email} has an account already.", hint="They sign in, or ask for a new password."
        )
    audit("invite", membership.user, workspace_id=membership.workspace_id)
    return added


def _invited(membership: Membership) -> AddedMember:
    """With an invitation, for somebody without a password. A link is shown only while the person belongs nowhere else:
    whoever sees it could use it, and would be in all their workspaces."""
    user = membership.user
    if user.has_usable_password():
        return AddedMember(membership)
    if can_mail():
        enqueue("accounts.tasks.send_invitation", str(user.pk))
        return AddedMember(membership, invitation_mailed=True)
    elsewhere = Membership.objects.filter(user=user).exclude(pk=membership.pk).exists()
    if elsewhere or user.is_superuser:
        return AddedMember(membership)
    return AddedMember(membership, invitation_link=link_for(user, Purpose.INVITE))
