"""Encrypts again, under the current key, what an older key encrypted."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import models

from core.crypto import DecryptionFailed, key_ring
from core.fields import EncryptedTextField, Envelope, Secret


@dataclass(frozen=True)
class RotationReport:
    """unreadable: `app.Model pk column` of secrets that no key at hand opens; they stay as they are."""

    rotated: int
    current: int
    unreadable: tuple[str, ...]


def rotate_secrets() -> RotationReport:
    """Go through every encrypted column of every model. Safe to run while the platform works, and to run again:
    a secret that somebody saves in between is left alone."""
    rotated = current = 0
    unreadable: list[str] = []
    for row, field in stored_secrets():
        secret: Secret[object] = getattr(row, field.attname)
        before = secret.envelope()
        if key_ring().is_current(before):
            current += 1
            continue
        try:
            after = Envelope(key_ring().encrypt(secret.plaintext(), secret.location))
        except DecryptionFailed:
            unreadable.append(f"{row._meta.label} {row.pk} {field.name}")
            continue
        same = type(row)._base_manager.filter(pk=row.pk, **{field.attname: before})
        rotated += same.update(**{field.attname: after})
    return RotationReport(rotated, current, tuple(unreadable))


def stored_secrets() -> Iterator[tuple[models.Model, EncryptedTextField]]:
    """Every row that holds a secret, with the field that does."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedTextField) and not model._meta.proxy:
                rows = model._base_manager.exclude(**{field.attname: ""}).only("pk", field.attname)
                for row in rows.iterator(chunk_size=500):
                    yield row, field
