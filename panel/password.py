"""The page to ask for a new password, and to set one with the link that came by mail or from an administrator."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.lockout import network_of
from accounts.mail import can_mail
from accounts.passwords import password_set, reset_request
from core.exceptions import MagnetError


class AskForm(forms.Form):
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )


class SetForm(forms.Form):
    token = forms.CharField(
        label=gettext_lazy("Code: the part of the link behind #"),
        max_length=300,
        widget=forms.TextInput(attrs={"autocomplete": "off", "data-from-hash": "", "spellcheck": "false"}),
    )
    password = forms.CharField(
        label=gettext_lazy("New password"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=gettext_lazy("New password, again"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("password") != cleaned.get("again"):
            self.add_error("again", _("The two passwords differ."))
        return cleaned


@never_cache
@sensitive_post_parameters("token", "password", "again")
@require_http_methods(["GET", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Ask for a link; with `?set`, use one."""
    if "set" in request.GET or "token" in request.POST:
        return _set(request)
    return _ask(request)


def _ask(request: HttpRequest) -> HttpResponse:
    form = AskForm(request.POST or None)
    if request.method == "POST" and can_mail() and form.is_valid():
        try:
            reset_request(email=form.cleaned_data["email"], network=network_of(request))
        except MagnetError as refusal:
            form.add_error(None, str(refusal))
            return _page(request, form, status=refusal.status)
        return _page(request, form, asked=True)
    return _page(request, form, status=400 if request.method == "POST" else 200)


def _set(request: HttpRequest) -> HttpResponse:
    form = SetForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _page(request, form, setting=True, status=400 if request.method == "POST" else 200)
    given = form.cleaned_data
    try:
        password_set(token=given["token"], password=given["password"], network=network_of(request))
    except ValidationError as refusal:
        form.add_error("password", refusal)
        return _page(request, form, setting=True, status=400)
    except MagnetError as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form, setting=True, status=refusal.status)
    messages.success(request, _("Your new password is set. You are signed out everywhere; sign in with it."))
    return redirect("panel:login")


def _page(request: HttpRequest, form: forms.Form, status: int = 200, **extra: Any) -> HttpResponse:
    return render(request, "panel/password.html", {"form": form, "can_mail": can_mail(), **extra}, status=status)
