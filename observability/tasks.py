"""Periodic work of the platform."""

import uuid

from celery import shared_task

from core.schedules import LONGEST_SECONDS
from observability import scheduling


@shared_task(name="observability.tasks.tick", ignore_result=True)
def tick() -> None:
    """Sweep, and hand out the schedules that are due. The beat sends it each 15 s."""
    scheduling.tick()


@shared_task(name=scheduling.TASK, ignore_result=True, soft_time_limit=LONGEST_SECONDS, time_limit=LONGEST_SECONDS + 30)
def run_schedule(schedule_id: str, token: str) -> None:
    """Do the recurring work of a schedule that was handed out with this token."""
    scheduling.run_schedule(uuid.UUID(schedule_id), int(token))
