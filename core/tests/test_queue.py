import logging

import pytest
from django.db import transaction
from kombu.exceptions import OperationalError

from core import queue


class Broker:
    """Takes the place of Celery: what was published, or a broker that is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.sent: list[tuple[str, list[str]]] = []

    def send_task(self, task, args, **_):
        if self.away:
            raise OperationalError("Connection refused")
        self.sent.append((task, args))


@pytest.mark.django_db(transaction=True)
def test_nothing_is_published_for_what_is_rolled_back(monkeypatch):
    broker = Broker()
    monkeypatch.setattr(queue, "current_app", broker)

    with transaction.atomic():
        queue.enqueue("knowledge.tasks.ingest_document", "1")
        transaction.set_rollback(True)
    with transaction.atomic():
        queue.enqueue("knowledge.tasks.ingest_document", "2")
        assert broker.sent == []

    assert broker.sent == [("knowledge.tasks.ingest_document", ["2"])]


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_fails_nobody_and_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(queue, "current_app", Broker(away=True))

    with caplog.at_level(logging.WARNING):
        queue.enqueue("knowledge.tasks.ingest_document", "1")

    assert [record.message for record in caplog.records] == ["queue.unavailable"]
