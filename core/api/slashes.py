"""Both spellings of an API path answer: `runs/{id}/events` and `runs/{id}/events/`, without a redirect."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve

from core.api.problems import unknown_route

PREFIXES = ("/api/", "/v1/")

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class SlashMiddleware:
    """Adds or takes the last slash of an API path where only the other spelling is a route."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        path = request.path_info
        if path.startswith(PREFIXES) and not _is_route(path):
            other = path[:-1] if path.endswith("/") else f"{path}/"
            if _is_route(other):
                request.path_info = other
                request.path = request.path[: -len(path)] + other
        return self.get_response(request)


def _is_route(path: str) -> bool:
    return resolve(path).func.__name__ != unknown_route.__name__  # each API has one of its own
