import pytest
from asgiref.sync import iscoroutinefunction
from django.test import AsyncClient, Client, RequestFactory

from core.api.slashes import SlashMiddleware

PATHS = ["/api/v1/session", "/api/v1/session/", "/api/v1/runs/x/events", "/api/v1/runs/x/events/", "/api/v1/jobs"]


@pytest.mark.parametrize("path", PATHS)
def test_both_spellings_are_the_same_route(path):
    assert Client().get(path).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_they_are_under_asgi_too(path):
    assert (await AsyncClient().get(path)).status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/no%0Athing", "/api/v1/nothing%0A"])
def test_what_is_no_route_stays_none(path):
    answer = Client().get(path)

    assert answer.status_code == 404
    assert answer.json()["instance"] == path


def test_nor_does_it_of_openai():
    answer = Client().get("/v1/no%0Athing")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "routed"), [("/v1", "/v1"), ("/v1/models/", "/v1/models"), ("/api/nowhere", "/api/nowhere")]
)
async def test_it_awaits_what_it_wraps_where_that_is_async(path, routed):
    async def answer(request):
        return request.path_info

    middleware = SlashMiddleware(answer)

    assert iscoroutinefunction(middleware)
    assert await middleware(RequestFactory().get(path)) == routed
