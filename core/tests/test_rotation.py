"""Encrypted columns in a real table: saved, loaded, updated in bulk, rotated."""

import base64
import io
import uuid
from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.core.management import CommandError, call_command
from django.db import connection, models

from core.crypto import DecryptionFailed
from core.fields import EncryptedJSONField, EncryptedTextField
from core.rotation import RotationReport, rotate_secrets

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()


class Safe(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.TextField(default="")
    api_key = EncryptedTextField(blank=True)
    headers = EncryptedJSONField(blank=True)

    class Meta:
        app_label = "core"
        apps = Apps()  # of its own: no other test sees this model


@pytest.fixture
def safes(db, settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [OLD]
    with connection.schema_editor() as editor:
        editor.create_model(Safe)
    monkeypatch.setattr("core.rotation.apps", SimpleNamespace(get_models=lambda: [Safe]))
    return Safe.objects


def columns(safe):
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, headers FROM core_safe WHERE id = %s", [safe.pk])
        return cursor.fetchone()


def test_row_holds_ciphertext_and_loads_the_value(safes):
    safe = safes.create(api_key="sk-1", headers={"a": 1})

    api_key, headers = columns(safe)
    loaded = safes.get(pk=safe.pk)

    assert api_key.startswith("enc1:old:")
    assert headers.startswith("enc1:old:")
    assert (loaded.api_key.reveal(), loaded.headers.reveal()) == ("sk-1", {"a": 1})


def test_saving_another_column_leaves_the_ciphertext(safes):
    safe = safes.create(api_key="sk-1")
    before = columns(safe)

    loaded = safes.get(pk=safe.pk)
    loaded.name = "renamed"
    loaded.save()

    assert columns(safe) == before


def test_deferred_and_refreshed_secrets_load(safes):
    safe = safes.create(api_key="sk-1")
    deferred = safes.only("name").get(pk=safe.pk)
    other = safes.get(pk=safe.pk)
    other.api_key = "sk-2"
    other.save()
    safe.refresh_from_db()

    assert deferred.get_deferred_fields() == {"api_key", "headers"}
    assert (deferred.api_key.reveal(), safe.api_key.reveal()) == ("sk-2", "sk-2")


def test_bulk_writes_bind_each_row(safes):
    rows = safes.bulk_create([Safe(api_key="sk-a"), Safe(api_key="sk-b")])
    for row in rows:
        row.api_key = row.api_key.reveal() + "!"
    safes.bulk_update(rows, ["api_key"])

    assert {row.api_key.reveal() for row in safes.all()} == {"sk-a!", "sk-b!"}
    with pytest.raises(TypeError, match="encrypted per row"):
        safes.update(api_key="sk-c")


def test_ciphertext_moved_by_sql_does_not_open(safes):
    first, second = safes.create(api_key="sk-1"), safes.create(api_key="sk-2")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_safe SET api_key = %s WHERE id = %s", [columns(first)[0], second.pk])

    with pytest.raises(DecryptionFailed):
        safes.get(pk=second.pk).api_key.reveal()
    assert safes.get(pk=first.pk).api_key.reveal() == "sk-1"


def test_empty_secrets_can_be_found(safes):
    safes.create(api_key="sk-1")
    empty = safes.create()

    assert [row.pk for row in safes.filter(api_key="")] == [empty.pk]


def test_rotation_moves_every_secret_to_the_first_key(safes, settings):
    safe = safes.create(api_key="sk-1", headers={"a": 1})
    safes.create()
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    current = safes.create(api_key="sk-2")
    before = columns(current)

    assert rotate_secrets() == RotationReport(rotated=2, current=1, unreadable=())

    settings.ENCRYPTION_KEYS = [NEW]
    loaded = safes.get(pk=safe.pk)
    assert (loaded.api_key.reveal(), loaded.headers.reveal()) == ("sk-1", {"a": 1})
    assert columns(current) == before
    assert rotate_secrets() == RotationReport(rotated=0, current=3, unreadable=())


def test_command_reports_and_names_what_no_key_opens(safes, settings):
    safe = safes.create(api_key="sk-1")
    before = columns(safe)
    settings.ENCRYPTION_KEYS = [NEW]
    safes.create(api_key="sk-2")

    with pytest.raises(CommandError) as error:
        call_command("rotate_encryption_keys", stdout=io.StringIO())

    assert str(error.value).endswith(f"core.Safe {safe.pk} api_key")
    assert columns(safe) == before

    settings.ENCRYPTION_KEYS = [NEW, OLD]
    out = io.StringIO()
    call_command("rotate_encryption_keys", stdout=out)

    assert out.getvalue() == (
        "1 secrets encrypted again, 1 were current.\nOlder keys can be dropped from ENCRYPTION_KEYS.\n"
    )
