"""Recurring work on what every door leaves behind."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import RequestCount, StoredAnswer
from core.recurring import WORK

pytestmark = pytest.mark.django_db


def test_answers_go_after_a_day():
    for key, hours in (("old", 25), ("young", 23)):
        row = StoredAnswer.objects.create(key_hash=key, request_hash="", created_at=timezone.now())
        StoredAnswer.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(hours=hours))

    assert WORK["stored-answers"].work() == 1
    assert list(StoredAnswer.objects.values_list("key_hash", flat=True)) == ["young"]


def test_counts_of_windows_that_ended_go():
    for key, seconds in (("old", -1), ("young", 30)):
        RequestCount.objects.create(key=key, count=3, ends_at=timezone.now() + timedelta(seconds=seconds))

    assert WORK["request-counts"].work() == 1
    assert list(RequestCount.objects.values_list("key", flat=True)) == ["young"]
