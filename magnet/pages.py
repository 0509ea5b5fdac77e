"""Answers for what goes wrong before a view can answer: pages for people, problems below /api/."""

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from core.api.problems import problem_response
from core.context import request_id
from core.exceptions import InvalidInput, MagnetError, PermissionRefused


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """A form came from an address that Magnet does not know as its own, or without its cookie."""
    detail = _("The form could not be checked ({reason}). Reload the page and send it again.").format(
        reason=reason.rstrip(".")
    )
    return _answer(request, PermissionRefused(detail, hint=_address_hint(request)), _("This form was not accepted"))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if isinstance(exception, DisallowedHost):
        error = InvalidInput(_("Magnet does not answer to this address."), hint=_address_hint(request))
    else:
        error = InvalidInput(_("The request could not be read."))
    return _answer(request, error, _("Bad request"))


def _address_hint(request: HttpRequest) -> str:
    """Which setting makes Magnet know the address by which somebody came."""
    if settings.PUBLIC_URL.startswith("https://") and not request.is_secure():
        return _(
            "PUBLIC_URL says {url}, and this request came by http. Open {url}. If you did, a proxy in front ends TLS: "
            "set TRUSTED_PROXIES to its address, and let it send X-Forwarded-Proto."
        ).format(url=settings.PUBLIC_URL)
    return _(
        "Set PUBLIC_URL to the address in your address bar; now it is {url}. Behind a proxy, set TRUSTED_PROXIES to "
        "the proxy's address too, and let it pass Host on."
    ).format(url=settings.PUBLIC_URL)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    del exception
    return _answer(request, PermissionRefused(_("Your role does not allow this.")), _("Not allowed"))


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    if request.path.startswith("/api/"):
        return problem_response(exception or Http404(), request)
    return _page(404, _("Not found"), _("There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponseBase:
    if request.path.startswith("/api/"):
        return problem_response(MagnetError("Something went wrong on our side."), request)
    return _page(500, _("Something went wrong"), _("The error is in the log, under the id below."))


def _answer(request: HttpRequest, error: MagnetError, title: str) -> HttpResponseBase:
    if request.path.startswith("/api/"):
        return problem_response(error, request)
    return _page(error.status, title, error.detail, error.hint)


def _page(status: int, title: str, detail: str, hint: str = "") -> HttpResponse:
    """No request goes into the template: what broke may be the host or the session that a context would ask for."""
    context = {"status": status, "title": title, "detail": detail, "hint": hint, "request_id": request_id.get()}
    return HttpResponse(render_to_string("errors/error.html", context), status=status)
