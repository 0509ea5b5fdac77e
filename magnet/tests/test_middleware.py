"""Which hooks of middleware run on the event loop, and that they do the same without one."""

import threading

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.messages import add_message, constants, get_messages
from django.http import HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.module_loading import import_string

from accounts.tests.factories import UserFactory
from magnet import middleware
from magnet.csp import ContentSecurityPolicy


async def answer(_request: object) -> HttpResponse:
    return HttpResponse("answer")


def hook_threads(monkeypatch, cls: type, name: str) -> list[threading.Thread]:
    """The threads in which a hook runs."""
    seen, hook = [], getattr(cls, name)

    def noted(self, *args):
        seen.append(threading.current_thread())
        return hook(self, *args)

    monkeypatch.setattr(cls, name, noted)
    return seen


def test_all_middleware_can_be_awaited():
    """One that cannot would take all around it to a thread."""
    for path in settings.MIDDLEWARE:
        made = import_string(path)(answer)
        assert iscoroutinefunction(made), path


def test_what_django_and_whitenoise_protect_is_in_the_list():
    listed = [import_string(path) for path in settings.MIDDLEWARE]

    for wanted in (SecurityMiddleware, XFrameOptionsMiddleware, CsrfViewMiddleware, ContentSecurityPolicy):
        assert any(isinstance(one, type) and issubclass(one, wanted) for one in listed), wanted


@pytest.mark.parametrize("cls", [middleware.Sessions, middleware.Messages, middleware.Common, middleware.Security])
async def test_a_hook_that_touches_nothing_outside_stays_on_the_loop(monkeypatch, cls):
    before, after = (
        hook_threads(monkeypatch, cls, "process_request"),
        hook_threads(monkeypatch, cls, "process_response"),
    )
    request = AsyncRequestFactory().get("/")
    await middleware.Sessions(answer)(request)

    await cls(answer)(request)

    assert {*before, *after} == {threading.current_thread()}


@pytest.mark.django_db(transaction=True)
async def test_a_changed_session_is_stored_off_the_loop(monkeypatch):
    after = hook_threads(monkeypatch, middleware.Sessions, "process_response")

    async def view(request):
        request.session["seen"] = 1
        return HttpResponse()

    response = await middleware.Sessions(view)(AsyncRequestFactory().get("/"))

    assert response.cookies["sessionid"].value
    assert after != [threading.current_thread()]


@pytest.mark.parametrize("shown", [True, False])
async def test_messages_that_were_added_or_shown_are_stored_off_the_loop(monkeypatch, shown):
    after = hook_threads(monkeypatch, middleware.Messages, "process_response")

    async def view(request):
        add_message(request, constants.INFO, "saved")
        return HttpResponse("".join(str(one) for one in get_messages(request)) if shown else "")

    response = await middleware.Sessions(middleware.Messages(view))(AsyncRequestFactory().get("/"))

    assert response.content == (b"saved" if shown else b"")
    assert ("messages" in response.cookies) is not shown
    assert after != [threading.current_thread()]


@pytest.mark.parametrize(
    "exempt, method, refused", [(True, "POST", False), (False, "GET", False), (False, "POST", True)]
)
async def test_a_form_without_its_token_is_refused_and_read_off_the_loop(monkeypatch, exempt, method, refused):
    looked = hook_threads(monkeypatch, middleware.CsrfViewMiddleware, "process_view")

    def view(_request):
        return HttpResponse()

    view.csrf_exempt = exempt
    request = AsyncRequestFactory().generic(method, "/", headers={"Origin": "http://evil.test"})
    request.user, request.session = UserFactory.build(), {}
    check = middleware.Csrf(answer)
    check.process_request(request)

    found = await check.process_view(request, view, (), {})

    assert (found is not None and found.status_code == 403) is refused
    assert (looked == [threading.current_thread()]) is not refused


async def test_static_files_are_found_off_the_loop_and_nothing_else_is_looked_for(monkeypatch):
    looked = hook_threads(monkeypatch, middleware.StaticFiles, "_file")
    files = middleware.StaticFiles(answer)
    files.use_finders, files.autorefresh = True, True

    found = await files(AsyncRequestFactory().get("/static/panel/panel.css"))
    missing = await files(AsyncRequestFactory().get("/static/none.css"))
    other = await files(AsyncRequestFactory().get("/panel/panel.css"))

    assert found["Content-Type"].startswith("text/css")
    assert (missing.content, other.content) == (b"answer", b"answer")
    assert len(looked) == 2
    assert threading.current_thread() not in looked


def test_without_a_loop_the_same_classes_are_called():
    def view(_request):
        return HttpResponse("answer")

    chain = view
    for name in ("Messages", "Csrf", "Common", "Sessions", "StaticFiles", "FrameOptions", "Security"):
        chain = getattr(middleware, name)(chain)

    response = chain(RequestFactory().get("/"))

    assert (response.content, response["X-Frame-Options"]) == (b"answer", "DENY")
    assert response["X-Content-Type-Options"] == "nosniff"
