"""The guard of every REST view: authenticated first, then role and scope by the one predicate."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.exceptions import AuthenticationRequired


class HasPermission(BasePermission):
    """Asks the view's `permission_for(method or action)`; None means: any authenticated caller."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.auth is None:
            raise AuthenticationRequired("Log in, or send an API key in the header Authorization: Bearer mk_….")
        needed = view.permission_for(getattr(view, "action", None) or (request.method or "").lower())
        if needed is not None:
            view.principal.require(needed)
        return True
