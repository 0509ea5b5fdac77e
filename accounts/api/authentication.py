"""How a request says who it is: an API key, or a session with its CSRF token."""

import copy
from dataclasses import dataclass
from typing import Any, cast

from django.http import QueryDict
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.request import Request

from accounts.lockout import network_of
from accounts.models import ApiKey, User
from accounts.selectors import live_key, principal_for_key, principal_for_session, user_of_session
from accounts.services import api_key_authenticate
from core.access import Principal
from core.exceptions import AuthenticationRequired, InvalidInput


@dataclass(frozen=True)
class Credentials:
    """What a request proved. `principal()` adds the workspace; endpoints without one never ask for it."""

    user: User
    key: ApiKey | None = None
    session_key: str | None = None

    @property
    def identity(self) -> str:
        """Who calls, for what is counted or kept by caller: the key, or the person of a session."""
        return f"user:{self.user.pk}" if self.key is None else f"key:{self.key.pk}"

    def renewed(self) -> "Credentials":
        """The same, if it still counts: for answers that outlive their request. Raises AuthenticationRequired."""
        if self.key is not None:
            key = live_key(self.key.pk)
            if key is None:
                raise AuthenticationRequired("This API key has expired or was revoked.")
            return Credentials(key.user, key)
        user = user_of_session(self.session_key or "")
        if user is None:
            raise AuthenticationRequired("You are signed out.", hint="Sign in again.")
        return Credentials(user, session_key=self.session_key)

    def principal(self, workspace_slug: str | None) -> Principal:
        if self.key is None:
            return principal_for_session(self.user, workspace_slug)
        principal = principal_for_key(self.key)
        if workspace_slug is not None and workspace_slug != principal.workspace_slug:
            raise InvalidInput(f"This API key belongs to the workspace '{principal.workspace_slug}'.")
        return principal


def key_text(request: Any) -> str | None:
    """The key that the request carries, in `Authorization: Bearer` or `X-API-Key`."""
    header = get_authorization_header(request).decode("latin-1")
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    key = request.META.get("HTTP_X_API_KEY")
    return None if key is None else str(key)


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, Credentials] | None:
        text = key_text(request)
        if text is None:
            return None
        key = api_key_authenticate(text, network_of(request._request))
        if key is None:
            raise AuthenticationRequired("This API key is unknown, expired or revoked.")
        return key.user, Credentials(key.user, key)


class CookieAuthentication(SessionAuthentication):
    """Django's session; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, Credentials] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        return found[0], Credentials(found[0], session_key=request._request.session.session_key)

    def enforce_csrf(self, request: Request) -> None:
        """The token counts in its header alone: looking for it in a form would parse the body before all else."""
        headers_only = copy.copy(request._request)
        headers_only.POST = QueryDict()
        super().enforce_csrf(cast(Request, headers_only))


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular is untyped here
    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "mk_<id>_<secret>"}


class CookieScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular is untyped here
    target_class = CookieAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
