"""Periodic work of the platform."""

from celery import shared_task

from observability import sweeper


@shared_task(name="observability.tasks.sweep", ignore_result=True)
def sweep() -> None:
    """Take up what lost its holder. The beat sends it each 15 s."""
    sweeper.sweep()
