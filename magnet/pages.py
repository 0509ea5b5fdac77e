"""Answers for what goes wrong before a view can answer: pages for people, problems below /api/, OpenAI's below /v1/."""

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from core.api.problems import problem_response
from core.context import request_id
from core.exceptions import InvalidInput, MagnetError, PermissionRefused
from doors.errors import error_response


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
    answer = _of_api(request, exception or Http404())
    return answer or _page(404, _("Not found"), _("There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponseBase:
    answer = _of_api(request, MagnetError("Something went wrong on our side."))
    return answer or _page(500, _("Something went wrong"), _("The error is in the log, under the id below."))


def _answer(request: HttpRequest, error: MagnetError, title: str) -> HttpResponseBase:
    return _of_api(request, error) or _page(error.status, title, error.detail, error.hint)


def _of_api(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    """The answer of the API that was asked; None where people look at it."""
    if request.path.startswith("/api/"):
        return problem_response(error, request)
    return error_response(error, request) if request.path.startswith("/v1/") else None


def _page(status: int, title: str, detail: str, hint: str = "") -> HttpResponse:
    """No request goes into the template: what broke may be the host or the session that a context would ask for."""
    context = {"status": status, "title": title, "detail": detail, "hint": hint, "request_id": request_id.get()}
    return HttpResponse(render_to_string("errors/error.html", context), status=status)
