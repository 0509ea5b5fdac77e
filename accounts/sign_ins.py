"""Signing in and out, as the audit log has it. Django tells of both by signals, whichever door it was."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out

from accounts.models import User
from core.audit import audit


def listen() -> None:
    user_logged_in.connect(_note_login, dispatch_uid="accounts.login")
    user_logged_out.connect(_note_logout, dispatch_uid="accounts.logout")


def _note_login(user: Any, **_: Any) -> None:
    audit("login", user)


def _note_logout(user: Any, **_: Any) -> None:
    if user is not None:
        audit("logout", user)


def note_failed_login(email: str, *, locks: bool) -> None:
    """A wrong password. People type passwords into the wrong field, so only an address that has an account is named."""
    user = User.objects.filter(email__iexact=email.strip()).first()
    audit("login_failed", user or User(name="unknown"))
    if locks and user is not None:
        audit("locked_out", user)
