"""Mail to people, by EMAIL_URL. Without it nothing is sent, and administrators hand links over."""

import smtplib
from collections.abc import Iterator

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.utils.translation import gettext_lazy as _

from accounts.links import LIFETIME, Purpose, link_for
from accounts.models import User
from core.doctor import Finding, Level

SUBJECTS = {Purpose.RESET: _("Set a new password for Magnet"), Purpose.INVITE: _("You are invited to Magnet")}
TEXTS = {
    Purpose.RESET: _(
        "Somebody, probably you, asked to set a new password for %(email)s.\n\n%(link)s\n\n"
        "The link works once, for %(hours)d h. If it was not you, do nothing: your password stays."
    ),
    Purpose.INVITE: _(
        "You were invited to Magnet at %(site)s. Choose a password to begin:\n\n%(link)s\n\n"
        "The link works once, for %(hours)d h."
    ),
}


def can_mail() -> bool:
    return bool(settings.EMAIL_HOST)


def send_link(user: User, purpose: Purpose) -> None:
    """Mail a fresh link. Raises OSError (which smtplib's errors are) when the mail server does not take it."""
    hours = round(LIFETIME[purpose].total_seconds() / 3600)
    values = {"email": user.email, "link": link_for(user, purpose), "hours": hours, "site": settings.PUBLIC_URL}
    EmailMessage(str(SUBJECTS[purpose]), str(TEXTS[purpose]) % values, to=[user.email]).send()


def mail_findings() -> Iterator[Finding]:
    """What `manage.py doctor` says: whether the mail server lets us in."""
    if not can_mail():
        yield Finding("Mail", Level.OK, "off; links come from manage.py reset_password and the admin")
        return
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        connection = get_connection()
        connection.open()
        connection.close()
    except (OSError, smtplib.SMTPException) as error:
        yield Finding("Mail", Level.WARNING, f"{where} does not take mail ({type(error).__name__})", "Check EMAIL_URL.")
        return
    yield Finding("Mail", Level.OK, where)
