"""What a browser may do on our pages: the content security policy by part of the site, and the devices, which are none.

The strict policy stands in settings.
"""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
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


DEVICES = ("accelerometer", "camera", "geolocation", "gyroscope", "magnetometer", "microphone", "payment", "usb")
PERMISSIONS_POLICY = ", ".join(f"{device}=()" for device in DEVICES)

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class PermissionsPolicy:
    """No page of ours uses a device, so that a script that got in cannot either."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        answer = self.get_response(request)
        if isinstance(answer, HttpResponseBase):
            answer.headers["Permissions-Policy"] = PERMISSIONS_POLICY
            return answer
        return self._async(answer)

    async def _async(self, answer: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        response = await answer
        response.headers["Permissions-Policy"] = PERMISSIONS_POLICY
        return response
