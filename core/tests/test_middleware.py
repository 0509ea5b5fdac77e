"""The request's id, on sync and async answers."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from core.context import request_id
from core.middleware import RequestIdMiddleware


def test_sync_answer_carries_the_id_and_the_context_forgets_it() -> None:
    seen = []

    def view(_request: object) -> HttpResponse:
        seen.append(request_id.get())
        return HttpResponse()

    answer = RequestIdMiddleware(view)(RequestFactory().get("/"))

    assert isinstance(answer, HttpResponse)
    assert [answer["X-Request-Id"]] == seen
    assert request_id.get() == ""


async def test_async_answer_carries_the_id() -> None:
    async def view(_request: object) -> HttpResponse:
        return HttpResponse(request_id.get())

    answer = await RequestIdMiddleware(view)(RequestFactory().get("/", headers={"X-Request-Id": "mine"}))  # type: ignore[misc]

    assert (answer["X-Request-Id"], answer.content) == ("mine", b"mine")


@pytest.mark.parametrize("bad", ["", "a" * 65, "a b", "a\nb", "é"])
def test_id_that_could_harm_a_log_is_replaced(bad: str) -> None:
    request = RequestFactory().get("/")
    request.META["HTTP_X_REQUEST_ID"] = bad

    answer = RequestIdMiddleware(lambda _request: HttpResponse())(request)

    assert len(answer["X-Request-Id"]) == 32  # type: ignore[index]
