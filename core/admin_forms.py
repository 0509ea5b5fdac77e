"""The form of every admin page: knows who edits, which version they saw, and why a save was refused."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, FieldDoesNotExist, ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _

from core.access import Principal
from core.exceptions import MagnetError
from core.fields import EncryptedTextField
from core.models import VersionedModel

VERSION_FIELD = "expected_version"
MAX_SHOWN = 80

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class WorkspaceForm(_ModelForm):
    """A ModelForm bound to a principal by `WorkspaceModelAdmin.get_form`.

    A stale save is refused with what the other author wrote, and the input stays in the form. Pressing Save again is
    then a decision: it goes out with the new version.
    """

    principal: ClassVar[Principal]
    refusal: ClassVar[MagnetError | ValidationError | None] = None

    expected_version = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_stale = False
        if self.instance._state.adding and hasattr(self.instance, "workspace_id"):
            self.instance.workspace_id = self.principal.workspace_id
        if not self.instance._state.adding and isinstance(self.instance, VersionedModel):
            self.initial[VERSION_FIELD] = self.instance.version
        else:
            del self.fields[VERSION_FIELD]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if VERSION_FIELD in self.fields:
            self._refuse_stale(cleaned.get(VERSION_FIELD))
        if self.refusal is not None:
            self._show(self.refusal)
        return cleaned

    def values(self) -> dict[str, Any]:
        """The checked input by field name, for a service. A secret that was left empty is unchanged, so absent."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name != VERSION_FIELD and not self._is_untouched_secret(name, value)
        }

    def _is_untouched_secret(self, name: str, value: Any) -> bool:
        field = {field.name: field for field in self._meta.model._meta.get_fields()}.get(name)
        return isinstance(field, EncryptedTextField) and not value

    def _refuse_stale(self, seen: int | None) -> None:
        """The lock is held to the end of the admin's transaction, so nobody can save between check and save."""
        rows = self._meta.model._base_manager.select_for_update().filter(pk=self.instance.pk)
        stored = rows.first()
        if stored is None or seen is None or stored.version == seen:
            return
        self.is_stale = True
        assert isinstance(self.data, QueryDict)  # in every bound form of the admin
        data = self.data.copy()
        data[self.add_prefix(VERSION_FIELD)] = str(stored.version)
        self.data = data
        self.add_error(None, ValidationError(self._conflict(stored, seen), code="stale"))

    def _conflict(self, stored: Any, seen: int) -> list[str]:
        changed = [name for name in self.changed_data if name in self.cleaned_data and hasattr(stored, name)]
        return [
            _(
                "Somebody else saved this while you were editing (version %(stored)s; you started from version "
                "%(seen)s). Your input is kept below. Save again to replace theirs with yours."
            )
            % {"stored": stored.version, "seen": seen},
            *(
                _("%(label)s is now: %(value)s")
                % {"label": self.fields[name].label or name, "value": self._stored_text(stored, name)}
                for name in changed
                if not isinstance(_field_of(stored, name), EncryptedTextField)
            ),
        ]

    @staticmethod
    def _stored_text(stored: Any, name: str) -> str:
        field, value = _field_of(stored, name), getattr(stored, name)
        if field is not None and field.many_to_many:
            value = list(value.all())
        text = ", ".join(str(row) for row in value) if isinstance(value, list) else str(value)
        text = text or _("(empty)")
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"

    def _show(self, refusal: MagnetError | ValidationError) -> None:
        if isinstance(refusal, MagnetError):
            self.add_error(None, str(refusal))
            return
        if not hasattr(refusal, "error_dict"):
            self.add_error(None, refusal)
            return
        for name, errors in refusal.error_dict.items():
            known = name if name in self.fields else None
            for error in errors:
                self.add_error(known, error if known or name == NON_FIELD_ERRORS else f"{name}: {error.messages[0]}")


def _field_of(row: Any, name: str) -> Any:
    """The model's field of this name; None for what a form takes besides."""
    try:
        return row._meta.get_field(name)
    except FieldDoesNotExist:
        return None
