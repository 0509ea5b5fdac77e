"""Jobs and runs for tests."""

import uuid

import factory
from django.utils import timezone

from accounts.tests.factories import UserFactory, WorkspaceFactory
from observability.choices import RunKind
from observability.models import Job, Run
from observability.runs.store import lease_time


class JobFactory(factory.django.DjangoModelFactory[Job]):
    """A pending job whose message was published."""

    class Meta:
        model = Job

    workspace = factory.SubFactory(WorkspaceFactory)
    kind = "tests"
    title = "Work"
    task = "tests.work"
    queue = "default"
    published_at = factory.LazyFunction(timezone.now)

    @classmethod
    def _get_manager(cls, model_class):
        return model_class._unscoped


class RunFactory(factory.django.DjangoModelFactory[Run]):
    """A running run of a RAG tool."""

    class Meta:
        model = Run

    workspace = factory.SubFactory(WorkspaceFactory)
    user = factory.SubFactory(UserFactory)
    kind = RunKind.RAG_TOOL
    target_id = factory.LazyFunction(uuid.uuid4)
    target_slug = "handbook-qa"
    variant = 1
    variant_id = factory.LazyFunction(uuid.uuid4)
    input = factory.LazyFunction(lambda: {"question": "How many days?"})
    lease_expires_at = factory.LazyFunction(lambda: timezone.now() + lease_time())

    @classmethod
    def _get_manager(cls, model_class):
        return model_class._unscoped
