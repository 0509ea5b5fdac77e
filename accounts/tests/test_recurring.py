"""Recurring work on sessions."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts.recurring import EXPIRED_SESSIONS


@pytest.mark.django_db
def test_expired_sessions_go_and_living_ones_stay() -> None:
    for key, days in (("old", -1), ("young", 1)):
        until = timezone.now() + timedelta(days=days)
        Session.objects.create(session_key=key, session_data="", expire_date=until)

    assert EXPIRED_SESSIONS.work() == 1
    assert list(Session.objects.values_list("pk", flat=True)) == ["young"]
