"""Links with which somebody sets a password once: after forgetting it, or when they were invited.

A link is a signed text and no row. It names its user and carries a hash of their password, address and last sign-in, so
that it ends with its use, with the next sign-in, and with a change of the address. An invitation ends, too, when the
person comes into another workspace, leaves one or becomes a superuser: it opens no more than it was made for. It stands
behind the `#` of the URL: no server's log and no Referer ever holds it.
"""

import uuid
from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import Membership, User

SALT = "accounts.links"
MAX_CHARS = 300


class Purpose(StrEnum):
    RESET = "reset"
    INVITE = "invite"


LIFETIME = {Purpose.RESET: timedelta(hours=1), Purpose.INVITE: timedelta(days=7)}


def link_for(user: User, purpose: Purpose) -> str:
    """The address of the page on which this user sets a password, with the proof that they may."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('panel:password')}?set#{token_for(user, purpose)}"


def token_for(user: User, purpose: Purpose) -> str:
    return TimestampSigner(salt=SALT).sign(f"{purpose.value}.{user.pk.hex}.{_state(user, purpose)}")


def user_of(token: str) -> User | None:
    """The active user whom this token lets set a password, locked to the end of the transaction; else None."""
    signer = TimestampSigner(salt=SALT)
    try:
        name, pk, state = signer.unsign(token[:MAX_CHARS]).split(".")
        purpose = Purpose(name)
        signer.unsign(token[:MAX_CHARS], max_age=LIFETIME[purpose])
        user = User.objects.select_for_update().filter(pk=uuid.UUID(pk), is_active=True).first()
    except (BadSignature, ValueError):
        return None
    return user if user is not None and constant_time_compare(state, _state(user, purpose)) else None


def _state(user: User, purpose: Purpose) -> str:
    """What changes with each use: a link that was made before does not fit any more."""
    parts = [user.password, user.email, str(user.last_login)]
    if purpose is Purpose.INVITE:
        workspaces = Membership.objects.filter(user=user).values_list("workspace_id", flat=True)
        parts += [str(user.is_superuser), *sorted(str(one) for one in workspaces)]
    return salted_hmac(SALT, "\n".join(parts), algorithm="sha256").hexdigest()[:32]
