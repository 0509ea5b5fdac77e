from collections.abc import Iterator

import pytest
from django.db import connections

from accounts.models import User, Workspace


@pytest.fixture
def transactional_db(django_db_setup, django_db_blocker) -> Iterator[None]:
    """pytest-django's fixture of this name, cheaper: a database whose rows other threads and processes see.

    What a test made is deleted by hand: all of it hangs on workspaces and users, and truncating every table of the
    platform after each test would take most of the time.
    """
    with django_db_blocker.unblock():
        workspaces, users = (set(model.objects.values_list("pk", flat=True)) for model in (Workspace, User))
        connections.close_all()
        yield
        Workspace.objects.exclude(pk__in=workspaces).delete()
        User.objects.exclude(pk__in=users).delete()
        connections.close_all()
