"""The content security policy by part of the site. The strict one stands in settings."""

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Unfold's Alpine compiles its attributes with Function() and sets styles in attributes: ADR 0003.
ADMIN = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}
# Swagger UI draws with inline styles; its scripts are files.
API_DOCS = {"script-src": [SELF], "style-src": [SELF, UNSAFE_INLINE]}
# Answers of programs are never pages.
API = {"default-src": [NONE], "script-src": [NONE], "style-src": [NONE], "img-src": [NONE], "connect-src": [NONE]}

BY_PREFIX = (("/admin/", ADMIN), ("/api/docs", API_DOCS), ("/api/", API))


class ContentSecurityPolicy(CSPMiddleware):
    """django-csp's middleware, with the exceptions of the prefixes above."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if parts.replace is None:
            parts.replace = next((one for prefix, one in BY_PREFIX if request.path.startswith(prefix)), None)
        return parts
