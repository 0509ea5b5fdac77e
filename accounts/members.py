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
    """A new member. invitation_link: for a superuser to hand over, when the person has no password and no mail can be
    sent; waits: nobody has told this person yet."""

    membership: Membership
    invitation_mailed: bool = False
    invitation_link: str = ""

    @property
    def waits(self) -> bool:
        told = self.invitation_mailed or self.invitation_link
        return not told and not self.membership.user.has_usable_password()


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
    elif not user.is_active:
        raise InvalidInput(f"The account of {user.email} is deactivated.", hint="A superuser can activate it.")
    elif Membership.objects.filter(workspace=workspace, user=user).exists():
        raise Conflict(f"{user.email} is a member already.", hint="Change the role of the member.")
    return _invited(membership_set(workspace=workspace, user=user, role=role), actor=principal.user)


@transaction.atomic
def invitation_renew(membership: Membership, *, principal: Principal) -> AddedMember:
    """Invite a member again who has set no password yet. Raises Conflict for everybody else, and where neither a mail
    nor this caller can bring the invitation."""
    principal.require(Permission.ADMINISTER)
    added = _invited(membership, actor=principal.user)
    if added.waits:
        raise Conflict(f"No mail can be sent to {membership.user.email}.", hint=WHO_HELPS)
    if not (added.invitation_mailed or added.invitation_link):
        raise Conflict(
            f"{membership.user.email} has an account already.", hint="They sign in, or ask for a new password."
        )
    return added


WHO_HELPS = "Set EMAIL_URL, or let a superuser make a link: on the person's page, or by manage.py reset_password."


def _invited(membership: Membership, *, actor: User) -> AddedMember:
    """With an invitation, for somebody without a password.

    Whoever sees a link can set the password, and has the account for good, in every workspace that it is ever added to.
    So a link goes to the person's own mailbox, or is shown to a superuser, and even then not for an account that
    belongs elsewhere, was used, or is a superuser's: those are for the person's page.
    """
    user = membership.user
    if user.has_usable_password():
        return AddedMember(membership)
    if can_mail():
        enqueue("accounts.tasks.send_invitation", str(user.pk))
        added = AddedMember(membership, invitation_mailed=True)
    elif actor.is_superuser and _belongs_here_alone(membership):
        added = AddedMember(membership, invitation_link=link_for(user, Purpose.INVITE))
    else:
        added = AddedMember(membership)
    how = "waits" if added.waits else "mailed" if added.invitation_mailed else "link shown"
    audit("invite", user, workspace_id=membership.workspace_id, changes={"invitation": {"after": how}})
    return added


def _belongs_here_alone(membership: Membership) -> bool:
    user = membership.user
    elsewhere = Membership.objects.filter(user=user).exclude(pk=membership.pk).exists()
    return not (elsewhere or user.is_superuser or user.last_login)
