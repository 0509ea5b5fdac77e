"""What `manage.py check_integrity` asks: whether the rows and files fit together. Apps register their questions.

A check yields a line for each thing that is wrong, in words that name the row. It reads only, and a platform at work
may be checked: what is merely under way is not wrong.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import F

from core.crypto import ENVELOPE_PREFIX, DecryptionFailed
from core.models import WorkspaceScopedModel
from core.registry import Registry
from core.rotation import stored_secrets

IntegrityCheck = Callable[[], Iterator[str]]
INTEGRITY_CHECKS: Registry[IntegrityCheck] = Registry("integrity check")


def wrongs() -> Iterator[str]:
    """A line for each thing that is wrong, by check."""
    for name, check in INTEGRITY_CHECKS.items():
        for line in check():
            yield f"{name}: {line}"


def workspaces_of_rows() -> Iterator[str]:
    """No row belongs to two workspaces: by itself and by what it refers to, or by two things that it refers to."""
    for model in apps.get_models():
        for one, other in combinations(_ways_to_workspaces(model), 2):
            both = model._base_manager.filter(**{f"{one}__isnull": False, f"{other}__isnull": False})
            for pk in both.exclude(**{one: F(other)}).values_list("pk", flat=True):
                yield f"{model._meta.label} {pk} belongs to two workspaces ({one}, {other})"


def _ways_to_workspaces(model: type[models.Model]) -> list[str]:
    ways = ["workspace_id"] if issubclass(model, WorkspaceScopedModel) else []
    for field in model._meta.local_concrete_fields:
        target: Any = field.related_model
        if isinstance(target, type) and issubclass(target, WorkspaceScopedModel):
            ways.append(f"{field.name}__workspace_id")
    return ways


def secrets_at_rest() -> Iterator[str]:
    """Every secret is a ciphertext that a key at hand opens, at this place and no other."""
    for row, field in stored_secrets():
        secret = getattr(row, field.attname)
        where = f"{row._meta.label} {row.pk} {field.name}"
        if not str(secret.envelope()).startswith(ENVELOPE_PREFIX):
            yield f"{where} holds clear text"
            continue
        try:
            secret.plaintext()
        except DecryptionFailed:
            yield f"{where} opens with no key of ENCRYPTION_KEYS"
