"""The forms of providers and models."""

from typing import Any

from django import forms
from django.forms.widgets import Script
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminNullBooleanSelectWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from core.admin_forms import WorkspaceForm
from llm.catalogue import CAPABILITIES
from llm.models import Model, Provider
from llm.selectors import header_names
from llm.services import NO_CREDENTIALS

NO_ID = "00000000-0000-0000-0000-000000000000"
CREDENTIALS = ("api_key", "secret")


def _password(label: Any) -> forms.CharField:
    widget = UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"})
    return forms.CharField(label=label, required=False, strip=True, widget=widget)


class _WrittenOnly(UnfoldAdminTextareaWidget):  # type: ignore[misc]  # unfold has no types
    """Like a password field: what was typed does not come back when the form is refused."""

    def format_value(self, value: Any) -> str:
        return ""


class ProviderForm(WorkspaceForm):
    """Credentials are written, never read: an empty field leaves them as they are."""

    api_key = _password(_("API key"))
    secret = _password(_("Second secret"))
    headers = forms.CharField(
        label=_("Extra headers"),
        required=False,
        widget=_WrittenOnly(attrs={"rows": 3, "autocomplete": "off"}),
    )
    forget = forms.BooleanField(
        label=_("Forget the credentials"),
        required=False,
        widget=UnfoldBooleanWidget,
        help_text=_("Removes the stored key, second secret and extra headers that are not entered anew."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "api_key" not in self.fields:
            return
        new = self.instance._state.adding
        for name in CREDENTIALS:
            purpose = str(Provider._meta.get_field(name).help_text) if name == "secret" else ""  # type: ignore[union-attr]
            stored = "" if new else getattr(self.instance, name).masked()
            kept = _("Stored: %(masked)s. Leave empty to keep it. Another base URL clears it.") % {"masked": stored}
            self.fields[
                name
            ].help_text = f"{purpose} {kept if stored else _('Stored encrypted and never shown again.')}"
        names = "" if new else ", ".join(header_names(self.instance))
        stored_headers = _("Stored: %(names)s; new ones replace them all. ") % {"names": names} if names else ""
        self.fields["headers"].help_text = format_lazy(
            "{}{}", stored_headers, _("One a line, as Name: value. Stored encrypted and never shown again.")
        )

    def clean_headers(self) -> dict[str, str]:
        lines = [line for line in self.cleaned_data["headers"].splitlines() if line.strip()]
        pairs = [line.partition(":") for line in lines]
        if any(not colon for _name, colon, _value in pairs):
            raise forms.ValidationError(_("Write each header as Name: value."), code="invalid")
        return {name.strip(): value.strip() for name, _colon, value in pairs}

    def values(self) -> dict[str, Any]:
        values = super().values()
        if values.pop("forget", False):
            values = {**NO_CREDENTIALS, **values}
        return values

    class Meta:
        model = Provider
        fields = (
            "name", "slug", "type", "base_url", "api_key", "secret", "headers", "access_key_id", "region", "project",
            "api_version", "is_active", "description",
        )  # fmt: skip


class _KnownOrSaid(UnfoldAdminNullBooleanSelectWidget):  # type: ignore[misc]  # unfold has no types
    """Yes, no, or what is known of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.choices = [("unknown", _("As known of it")), ("true", _("Yes")), ("false", _("No"))]


class ModelForm(WorkspaceForm):
    """A picker fills it with what the provider offers; without scripts, the identifier is typed.

    Of a new model, what is left open is taken from the catalogue and the provider's type.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "identifier" not in self.fields:
            return
        listing = reverse("providers-available-models", args=[NO_ID])
        self.fields["identifier"].widget.attrs.update(
            {"data-models-url": listing, "data-workspace": self.principal.workspace_slug, "autocomplete": "off"}
        )
        if self.instance._state.adding:
            self._leave_open()

    def _leave_open(self) -> None:
        limit = self.fields["max_input_tokens"]
        limit.required, limit.initial = False, None
        self.initial.pop("max_input_tokens", None)
        limit.help_text = format_lazy("{} {}", limit.help_text, _("Empty: what is known of the model, else 8000."))
        for name in CAPABILITIES:
            stored = self.fields[name]
            self.fields[name] = forms.NullBooleanField(
                label=stored.label, help_text=stored.help_text, required=False, widget=_KnownOrSaid()
            )
            self.initial.pop(name, None)

    class Media:
        js = (Script("magnet/pick.js", type="module"),)

    class Meta:
        model = Model
        fields = (
            "name", "slug", "provider", "kind", "identifier", "is_default", "is_active", "description",
            "max_input_tokens", "timeout_seconds", "dimensions", "shortens", "requests_per_minute",
            "tokens_per_minute", "fallback", "cache_seconds", *CAPABILITIES,
        )  # fmt: skip
