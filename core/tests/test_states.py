import pytest

from core.exceptions import IllegalTransition
from observability.choices import JobStatus
from observability.models import Job


def test_a_listed_move_is_made():
    job = Job(status=JobStatus.PENDING)

    job.move_to(JobStatus.RUNNING)

    assert job.status == JobStatus.RUNNING


def test_any_other_move_is_refused_and_changes_nothing():
    job = Job(status=JobStatus.SUCCEEDED)

    with pytest.raises(IllegalTransition, match="This job is succeeded and cannot become running"):
        job.move_to(JobStatus.RUNNING)

    assert job.status == JobStatus.SUCCEEDED
    assert Job.is_terminal(JobStatus.SUCCEEDED)
    assert not Job.is_terminal(JobStatus.RUNNING)
