"""Setting a password by a link: asking for the link, making it, and using it."""

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts.links import Purpose, link_for, user_of
from accounts.lockout import TooManyTries, count_failure, count_try, forget_tries, refuse_locked
from accounts.models import FailedTries, User
from accounts.services import require_superuser
from core.audit import audit
from core.exceptions import InvalidInput
from core.queue import enqueue

RESET = FailedTries.Kind.RESET
ANY_LINK = "link"
"""Wrong links name nobody, so they are counted by their address alone."""


@transaction.atomic
def reset_request(*, email: str, network: str) -> None:
    """Mail a link to the person with this address. An address without an account costs the same work and time.

    Raises TooManyTries for many requests for one address from one network.
    """
    count_try(RESET, email, network)
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first() or User(name="unknown")
    audit("reset_requested", user)
    enqueue("accounts.tasks.send_reset", str(user.pk))


def may_mail(user: User) -> bool:
    """Whether another reset link may be mailed to this person: at most nine in 15 minutes, whoever asks."""
    try:
        count_try(RESET, f"mail {user.pk}", "")
    except TooManyTries:
        return False
    return True


@transaction.atomic
def reset_link(user: User, *, actor: User | None = None) -> str:
    """A link for an administrator to hand over. actor: a superuser; None: the command on the server.

    Raises InvalidInput for a deactivated user.
    """
    if actor is not None:
        require_superuser(actor)
    if not user.is_active:
        raise InvalidInput(f"{user.email} is deactivated.", hint="Activate the account first.")
    audit("reset_link", user)
    return link_for(user, Purpose.RESET)


def password_set(*, token: str, password: str, network: str) -> User:
    """Set the password of the link's user: the link and all their sessions end, their API keys stay.

    Raises InvalidInput for a link that is wrong, used or expired, ValidationError for a weak password (the link stays
    good), TooManyTries after many wrong links from this network.
    """
    refuse_locked(RESET, ANY_LINK, network)
    with transaction.atomic():
        user = user_of(token)
        if user is not None:
            validate_password(password, user)
            user.set_password(password)
            user.save(update_fields=["password", "updated_at"])
            audit("password_reset", user)
            forget_tries(FailedTries.Kind.LOGIN, user.email, network)
            forget_tries(RESET, user.email, network)
            return user
    count_failure(RESET, ANY_LINK, network)
    raise InvalidInput("This link is wrong, was used before, or has expired.", hint="Ask for a new one.")
