import pytest
from django.test import AsyncClient, Client

PATHS = ["/api/v1/session", "/api/v1/session/", "/api/v1/runs/x/events", "/api/v1/runs/x/events/", "/api/v1/jobs"]


@pytest.mark.parametrize("path", PATHS)
def test_both_spellings_are_the_same_route(path):
    assert Client().get(path).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_they_are_under_asgi_too(path):
    assert (await AsyncClient().get(path)).status_code == 401


def test_what_is_no_route_stays_none():
    answer = Client().get("/api/v1/nothing")

    assert answer.status_code == 404
    assert answer.json()["instance"] == "/api/v1/nothing"
