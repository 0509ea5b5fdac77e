"""Recurring work on what every door leaves behind."""

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.api.idempotency import KEPT
from core.models import RequestCount, StoredAnswer
from core.schedules import Recurring, delete_in_batches


def remove_stored_answers() -> int:
    return delete_in_batches(StoredAnswer.objects.filter(created_at__lt=timezone.now() - KEPT))


def remove_request_counts() -> int:
    return delete_in_batches(RequestCount.objects.filter(ends_at__lt=timezone.now()))


WORK = {
    "stored-answers": Recurring(
        title=_("Remove stored answers"),
        text=_("What requests with an Idempotency-Key were answered, more than 24 hours ago."),
        cron="13 * * * *",
        unit=_("answers"),
        work=remove_stored_answers,
    ),
    "request-counts": Recurring(
        title=_("Remove request counts"),
        text=_("Counts of requests from times when Valkey was away."),
        cron="43 * * * *",
        unit=_("counts"),
        work=remove_request_counts,
    ),
}
