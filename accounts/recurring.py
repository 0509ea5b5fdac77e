"""Recurring work on what belongs to people."""

from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.schedules import Recurring, delete_in_batches


def remove_expired_sessions() -> int:
    return delete_in_batches(Session.objects.filter(expire_date__lt=timezone.now()))


EXPIRED_SESSIONS = Recurring(
    title=_("Remove expired sessions"),
    text=_("Browser sessions whose time is over. They open nothing any more."),
    cron="17 3 * * *",
    unit=_("sessions"),
    work=remove_expired_sessions,
)
