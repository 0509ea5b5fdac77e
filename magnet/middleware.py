"""Middleware of Django and whitenoise that stays on the event loop.

Django takes each hook of a synchronous middleware to the request's thread, and everything around one that cannot be
awaited as well. A change of threads costs more than most hooks do, which look at headers only. What may read or write
elsewhere (a changed session, new messages, a form, a file) still goes to the thread. Without an event loop, as in
commands and in the test client, all of them are what they are built on. See ADR 0017.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from magnet.csp import ContentSecurityPolicy

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


class Inline:
    """Before a MiddlewareMixin: its hooks are called where the request is handled."""

    get_response: Any

    def leaves_loop(self, request: HttpRequest) -> bool:
        """Whether the hook behind the view may read or write outside of this process."""
        del request
        return False

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        before: Any = getattr(self, "process_request", None)
        response: HttpResponseBase | None = before(request) if before else None
        if response is None:
            response = await self.get_response(request)
        after: Any = getattr(self, "process_response", None)
        if after is None:
            return response
        if self.leaves_loop(request):
            answered: HttpResponseBase = await sync_to_async(after)(request, response)
        else:
            answered = after(request, response)
        return answered


class InlineContentSecurityPolicy(Inline, ContentSecurityPolicy):
    """Our policy, on the loop."""


class Security(Inline, SecurityMiddleware):
    """Headers alone."""


class FrameOptions(Inline, XFrameOptionsMiddleware):
    """A header alone."""


class Common(Inline, CommonMiddleware):
    """Addresses and lengths."""


class Authentication(Inline, AuthenticationMiddleware):
    """Who is signed in is read when somebody asks for it."""


class Sessions(Inline, SessionMiddleware):
    """A session that was changed is stored behind the view."""

    def leaves_loop(self, request: HttpRequest) -> bool:
        return bool(request.session.modified)


class Messages(Inline, MessageMiddleware):
    """Messages that were added or shown are stored behind the view, perhaps in the session."""

    def leaves_loop(self, request: HttpRequest) -> bool:
        kept: Any = getattr(request, "_messages", None)
        return kept is not None and bool(kept.used or kept.added_new)


class Csrf(Inline, CsrfViewMiddleware):
    """The check of a form's token may read the form, which can be large, and goes to the thread for it."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            self.process_view = self._checked  # type: ignore[method-assign, assignment]  # Django awaits it, then

    async def _checked(self, request: HttpRequest, callback: Any, args: Any, kwargs: Any) -> Any:
        check = super().process_view
        if getattr(callback, "csrf_exempt", False) or request.method in SAFE:
            return check(request, callback, args, kwargs)
        return await sync_to_async(check)(request, callback, args, kwargs)


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """Only what is asked for below STATIC_URL is looked for among the files."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        self._awaits = iscoroutinefunction(get_response)
        if self._awaits:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._awaits:
            return self._async(request)
        answer: HttpResponseBase = super().__call__(request)
        return answer

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        served: HttpResponseBase | None = None
        if request.path_info.startswith(self.static_prefix):
            served = await sync_to_async(self._file)(request)
        if served is None:
            served = await self.get_response(request)
        return served

    def _file(self, request: HttpRequest) -> HttpResponseBase | None:
        path = request.path_info
        found = self.find_file(path) if self.autorefresh else self.files.get(path)
        return None if found is None else self.serve(found, request)
