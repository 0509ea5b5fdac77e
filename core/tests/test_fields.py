"""Encrypted columns and schema-checked JSON, on models without tables."""

import base64
import uuid
from typing import Literal

import pytest
from django import forms
from django.apps.registry import Apps
from django.core.exceptions import ValidationError
from django.db import models
from pydantic import BaseModel, ConfigDict, Field

from core.crypto import DecryptionFailed
from core.fields import EncryptedJSONField, EncryptedTextField, Envelope, SchemaJSONField

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()


class Weights(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dense: float = Field(default=1.0, ge=0)


class Retrieval(BaseModel):
    model_config = ConfigDict(extra="forbid")
    top_k: int = Field(default=8, ge=1, le=50)
    mode: Literal["hybrid", "dense"] = "hybrid"
    weights: list[Weights] = []


class Vault(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    api_key = EncryptedTextField("API key", blank=True)
    required_key = EncryptedTextField()
    headers = EncryptedJSONField(blank=True)
    config = SchemaJSONField(schema=Retrieval, default=dict)
    extra = SchemaJSONField(schema=Retrieval, null=True, blank=True)

    class Meta:
        app_label = "core"
        apps = Apps()  # of its own: no other test sees this model


class VaultForm(forms.ModelForm):
    class Meta:
        model = Vault
        fields = ["api_key", "headers"]


@pytest.fixture(autouse=True)
def _keys(settings):
    settings.ENCRYPTION_KEYS = [OLD]


def stored(vault, name):
    """What a save writes into the column."""
    return Vault._meta.get_field(name).pre_save(vault, add=True)


def loaded(pk, **columns):
    """A row as the database hands it over; fields that are not named are deferred."""
    values = [Vault._meta.get_field(name).from_db_value(value, None, None) for name, value in columns.items()]
    return Vault.from_db("default", ["id", *columns], [pk, *values])


def test_text_goes_through_the_column_encrypted():
    vault = Vault(api_key="sk-secret-of-the-provider")

    column = stored(vault, "api_key")

    assert column.startswith("enc1:old:")
    assert "sk-" not in column
    assert loaded(vault.pk, api_key=column).api_key.reveal() == "sk-secret-of-the-provider"


def test_json_goes_through_the_column_encrypted():
    vault = Vault(headers={"X-Key": ["ä", 1]})

    assert loaded(vault.pk, headers=stored(vault, "headers")).headers.reveal() == {"X-Key": ["ä", 1]}


def test_empty_secrets_stay_empty():
    vault = Vault()

    assert (stored(vault, "api_key"), stored(vault, "headers")) == ("", "")
    assert (vault.api_key.reveal(), vault.headers.reveal()) == ("", {})
    assert not vault.api_key
    assert (str(vault.api_key), vault.api_key.masked(), repr(vault.api_key)) == ("", "", "<Secret: empty>")
    assert not loaded(vault.pk, api_key=None).api_key


def test_secret_never_shows_itself():
    secret = Vault(api_key="sk-secret-of-the-provider").api_key

    assert f"{secret} {secret!r}" == "•••• <Secret: set>"
    assert secret.masked() == "••••ider"
    assert Vault(api_key="short").api_key.masked() == "••••"


def test_swapped_ciphertext_is_refused():
    first, second = Vault(api_key="one"), Vault(api_key="two")

    swapped = loaded(second.pk, api_key=stored(first, "api_key"), required_key=stored(first, "api_key"))

    for secret in (swapped.api_key, swapped.required_key):
        with pytest.raises(DecryptionFailed):
            secret.reveal()


def test_wrong_key_fails_on_access_and_not_before(settings):
    vault = Vault(api_key="sk-secret-of-the-provider")
    column = stored(vault, "api_key")
    settings.ENCRYPTION_KEYS = [NEW]

    row = loaded(vault.pk, api_key=column)

    assert (bool(row.api_key), str(row.api_key), row.api_key.masked()) == (True, "••••", "unreadable, enter it again")
    assert stored(row, "api_key") == column
    with pytest.raises(DecryptionFailed, match="Put the key old back into ENCRYPTION_KEYS"):
        row.api_key.reveal()


def test_new_value_replaces_the_old_and_uses_the_first_key(settings):
    vault = Vault(api_key="one")
    row = loaded(vault.pk, api_key=stored(vault, "api_key"))
    settings.ENCRYPTION_KEYS = [NEW, OLD]

    row.api_key = row.api_key.reveal()
    assert stored(row, "api_key").startswith("enc1:new:")
    row.api_key = "two"
    assert row.api_key.reveal() == "two"
    row.api_key = ""
    assert stored(row, "api_key") == ""


def test_secret_of_another_row_is_encrypted_again():
    source = Vault(api_key="one")
    target = Vault(api_key=source.api_key)

    column = stored(target, "api_key")

    assert column != stored(source, "api_key")
    assert loaded(target.pk, api_key=column).api_key.reveal() == "one"


def test_secret_cannot_be_filtered_by_or_set_in_bulk():
    with pytest.raises(TypeError, match="api_key is encrypted per row"):
        str(Vault.objects.filter(api_key="sk-guess").query)
    field = Vault._meta.get_field("api_key")
    with pytest.raises(TypeError, match="encrypted per row"):
        field.get_prep_value("sk-guess")
    assert field.get_prep_value(None) == field.get_prep_value("") == ""
    assert field.get_prep_value(Vault(api_key="x").api_key).startswith("enc1:old:")


def test_dump_and_load_keep_the_ciphertext():
    vault = Vault(api_key="one")
    field = Vault._meta.get_field("api_key")

    dumped = field.value_to_string(vault)
    again = Vault(id=vault.pk, api_key=field.to_python(dumped))

    assert isinstance(field.to_python(dumped), Envelope)
    assert again.api_key.reveal() == "one"
    assert field.to_python("plain") == "plain"


def test_required_secret_is_asked_for():
    with pytest.raises(ValidationError) as error:
        Vault(config={}).full_clean(validate_unique=False)

    assert set(error.value.message_dict) == {"required_key"}
    Vault(required_key="set").full_clean(validate_unique=False)


def test_form_never_shows_a_secret_and_leaves_it_when_empty():
    vault = Vault(api_key="sk-secret-of-the-provider", headers={"a": 1})

    form = VaultForm({"api_key": "", "headers": ""}, instance=vault)

    assert "sk-secret" not in VaultForm(instance=vault).as_p()
    assert 'type="password"' in form.as_p()
    assert form.is_valid()
    assert (vault.api_key.reveal(), vault.headers.reveal()) == ("sk-secret-of-the-provider", {"a": 1})


def test_form_replaces_a_secret():
    vault = Vault(api_key="one")

    form = VaultForm({"api_key": "two", "headers": '{"b": 2}'}, instance=vault)

    assert form.is_valid()
    assert (vault.api_key.reveal(), vault.headers.reveal()) == ("two", {"b": 2})
    assert VaultForm({"headers": "{b"}, instance=vault).errors == {"headers": ["Enter valid JSON."]}


def test_attribute_of_the_class_is_the_descriptor():
    assert Vault.api_key.field is Vault._meta.get_field("api_key")


def test_valid_json_is_stored_with_its_defaults():
    vault = Vault(required_key="k", config={"top_k": 5, "weights": [{}]})

    vault.full_clean(validate_unique=False)

    assert vault.config == {"top_k": 5, "mode": "hybrid", "weights": [{"dense": 1.0}]}
    assert vault.extra is None
    assert Vault._meta.get_field("extra").clean(None, vault) is None
    assert Vault._meta.get_field("config").validated(vault) == Retrieval(top_k=5, weights=[Weights()])


def test_wrong_json_is_explained_with_its_path():
    vault = Vault(required_key="k", config={"top_k": 99, "weights": [{"dense": -1}], "tpo_k": 1}, extra="100 %s")

    with pytest.raises(ValidationError) as error:
        vault.full_clean(validate_unique=False)

    assert error.value.message_dict["config"] == [
        "top_k: Input should be less than or equal to 50",
        "weights.0.dense: Input should be greater than or equal to 0",
        "tpo_k: Extra inputs are not permitted",
    ]
    assert error.value.message_dict["extra"] == [
        "Input should be a valid dictionary or instance of Retrieval",
    ]


def test_row_that_no_longer_fits_its_schema_says_so():
    with pytest.raises(ValidationError, match="mode: Input should be 'hybrid' or 'dense'"):
        Vault._meta.get_field("config").validated(Vault(config={"mode": "magic"}))


def test_migrations_do_not_see_the_schema():
    _, path, args, kwargs = Vault._meta.get_field("config").deconstruct()

    assert path == "core.fields.SchemaJSONField"
    assert (args, kwargs) == ([], {"default": dict})
    SchemaJSONField(**kwargs)
