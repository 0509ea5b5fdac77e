"""Mail in the background. The arguments are ids: links are made here, so that the broker never holds one."""

from celery import shared_task

from accounts.links import Purpose
from accounts.mail import can_mail, send_link
from accounts.models import User
from accounts.passwords import may_mail

FAILURES = (OSError,)  # of the connection, and whatever smtplib raises
MAX_RETRIES, BACKOFF_SECONDS = 4, 5


@shared_task(
    name="accounts.tasks.send_reset", autoretry_for=FAILURES, max_retries=MAX_RETRIES, retry_backoff=BACKOFF_SECONDS
)
def send_reset(user_id: str) -> None:
    """Mail a link to set a new password. An id of nobody is what an unknown address leads to."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and can_mail() and may_mail(user):
        send_link(user, Purpose.RESET)


@shared_task(
    name="accounts.tasks.send_invitation",
    autoretry_for=FAILURES,
    max_retries=MAX_RETRIES,
    retry_backoff=BACKOFF_SECONDS,
)
def send_invitation(user_id: str) -> None:
    """Mail an invitation to somebody who has set no password yet."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and can_mail() and not user.has_usable_password():
        send_link(user, Purpose.INVITE)
