"""Columns that are more than their database type: encrypted values, and JSON with a schema."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pydantic
from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.translation import gettext_lazy as _

from core.crypto import ENVELOPE_PREFIX, DecryptionFailed, SecretLocation, key_ring

T = TypeVar("T")

MASK = "••••"

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
    _JSONField = models.JSONField[Any, Any]
else:
    _TextField = models.TextField
    _JSONField = models.JSONField


class Envelope(str):
    """A ciphertext as it stands in the column, as opposed to a text that somebody assigned."""

    __slots__ = ()


class Secret(Generic[T]):
    """An encrypted value of one row. It is decrypted by `reveal()` only, and shows itself nowhere."""

    __slots__ = ("_envelope", "_loads", "_plaintext", "location")

    def __init__(
        self,
        location: SecretLocation,
        loads: Callable[[str], T],
        *,
        plaintext: str | None = None,
        envelope: Envelope | None = None,
    ) -> None:
        self.location = location
        self._loads = loads
        self._plaintext = plaintext
        self._envelope = envelope

    def reveal(self) -> T:
        """The value in the clear; an empty secret is the field's empty value. Raises DecryptionFailed."""
        return self._loads(self.plaintext())

    def plaintext(self) -> str:
        """The value as it was serialised before encryption."""
        if self._plaintext is None:
            self._plaintext = key_ring().decrypt(self._envelope, self.location) if self._envelope else ""
        return self._plaintext

    def envelope(self) -> Envelope:
        """The ciphertext to store, always under the current key for a new value; empty for an empty one."""
        if self._envelope is None:
            text = self._plaintext or ""
            self._envelope = Envelope(key_ring().encrypt(text, self.location) if text else "")
        return self._envelope

    def masked(self) -> str:
        """For lists and forms: dots, with the last four characters of a long secret. Never raises."""
        if not self:
            return ""
        try:
            text = self.plaintext()
        except DecryptionFailed:
            return str(_("unreadable, enter it again"))
        return MASK + text[-4:] if len(text) >= 20 else MASK

    def __bool__(self) -> bool:
        return bool(self._envelope or self._plaintext)

    def __str__(self) -> str:
        return MASK if self else ""

    def __repr__(self) -> str:
        return f"<Secret: {'set' if self else 'empty'}>"


class _SecretAttribute(DeferredAttribute):
    """Wraps what the row holds into a Secret that knows its place, at the moment of access."""

    field: "EncryptedTextField"

    def __get__(self, instance: models.Model | None, owner: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        value = super().__get__(instance, owner)
        secret = self.field.secret(instance, value)
        instance.__dict__[self.field.attname] = secret
        return secret

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(_TextField):
    """Text that is encrypted in its column. Assign a str (or "" to clear); read `instance.field.reveal()`.

    The ciphertext is bound to table, primary key and column: it cannot be filtered by, set with `update()`, or copied
    to another row; the primary key has to exist before the save, as UUIDModel's does. Forms never show it, and leave it
    as it is when they come back empty. Renaming the table or column needs a migration that encrypts again.
    """

    descriptor_class = _SecretAttribute
    description = _("Encrypted text")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", "")
        super().__init__(*args, **kwargs)

    def dumps(self, value: Any) -> str:
        """Serialise what was assigned, before it is encrypted."""
        return str(value)

    def loads(self, text: str) -> Any:
        """The reverse of dumps; gets "" for an empty secret."""
        return text

    def secret(self, instance: models.Model, value: Any) -> Secret[Any]:
        """What the row holds (a ciphertext, an assigned value, or a Secret of this or another row) as its Secret."""
        location = SecretLocation(instance._meta.db_table, str(instance.pk), str(self.column))
        if isinstance(value, Secret):
            if value.location == location:
                return value
            return Secret(location, self.loads, plaintext=value.plaintext())
        if isinstance(value, Envelope):
            return Secret(location, self.loads, envelope=value)
        return Secret(location, self.loads, plaintext="" if value in (None, "") else self.dumps(value))

    def from_db_value(self, value: str | None, *_: Any) -> Envelope:
        return Envelope(value or "")

    def to_python(self, value: Any) -> Any:
        # Deserialisers (loaddata) hand the column's text over; everything else comes through the attribute.
        if isinstance(value, str) and value.startswith(ENVELOPE_PREFIX):
            return Envelope(value)
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Envelope:  # noqa: ARG002 - Django's signature
        secret: Secret[Any] = getattr(model_instance, self.attname)
        return secret.envelope()

    def get_prep_value(self, value: Any) -> str:
        if isinstance(value, Secret):
            return value.envelope()
        if isinstance(value, Envelope) or value in (None, ""):
            return value or ""
        raise TypeError(f"{self.name} is encrypted per row: it cannot be filtered by or set in bulk.")

    def value_to_string(self, obj: models.Model) -> str:
        return self.pre_save(obj, add=False)

    def clean(self, value: Secret[Any], model_instance: models.Model | None) -> Secret[Any]:  # noqa: ARG002
        if not self.blank and not value:
            raise ValidationError(self.error_messages["blank"], code="blank")
        return value

    def value_from_object(self, obj: models.Model) -> str:  # noqa: ARG002 - forms and diffs get nothing
        return ""

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        if data not in (None, ""):
            setattr(instance, self.attname, data)

    def formfield(self, *_: Any, **kwargs: Any) -> forms.Field:
        """A password input that is never filled in. Not required, as empty means unchanged: a form that creates
        rows and needs the secret says so itself."""
        return forms.CharField(
            label=kwargs.get("label", self.verbose_name),
            help_text=kwargs.get("help_text", self.help_text),
            required=False,
            widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        )


class EncryptedJSONField(EncryptedTextField):
    """A JSON value that is encrypted in its column; an empty one reads as `{}`."""

    description = _("Encrypted JSON")

    def dumps(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def loads(self, text: str) -> Any:
        return json.loads(text) if text else {}

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        if data not in (None, ""):
            setattr(instance, self.attname, json.loads(data) if isinstance(data, str) else data)

    def formfield(self, *args: Any, **kwargs: Any) -> forms.Field:
        field = super().formfield(*args, **kwargs)
        field.validators.append(_check_json)
        return field


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ValidationError(_("Enter valid JSON."), code="invalid") from error


class SchemaJSONField(_JSONField):
    """JSON that a pydantic model describes.

    `full_clean` refuses what the model refuses, with the path in front of each message, and stores what the model
    read with its defaults filled in, so that a row keeps its meaning when a default changes. Extra keys are the
    model's affair (`extra="forbid"`). Migrations do not see the schema.
    """

    # `{}` is a value: all defaults.
    empty_values = [None, ""]

    def __init__(self, *args: Any, schema: type[pydantic.BaseModel] | None = None, **kwargs: Any) -> None:
        self.schema = schema
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("schema", None)
        return name, path, args, kwargs

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        value = super().clean(value, model_instance)
        if value is None:
            return None
        return self._read(value).model_dump(mode="json")

    def validated(self, instance: models.Model) -> pydantic.BaseModel:
        """The row's value as an object of the schema. Raises django's ValidationError if it does not fit any more."""
        return self._read(getattr(instance, self.attname))

    def _read(self, value: Any) -> pydantic.BaseModel:
        assert self.schema is not None, f"{self.name} has no schema outside of migrations"
        try:
            return self.schema.model_validate(value)
        except pydantic.ValidationError as error:
            raise ValidationError([_explain(problem) for problem in error.errors(include_url=False)]) from error


def _explain(problem: Any) -> ValidationError:
    path = ".".join(str(part) for part in problem["loc"])
    message = f"{path}: {problem['msg']}" if path else problem["msg"]
    return ValidationError(message, code=problem["type"])
