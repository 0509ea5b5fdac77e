"""The sample application of examples/spa, served from its own origin, in real Chromium against the whole platform."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from magnet.environment import BASE_DIR
from magnet.tests.browser import LONG_MS, PASSWORD, Watched
from magnet.tests.platform import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SAMPLE = BASE_DIR / "examples" / "spa"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def serve(folder: Path, host: str, port: int) -> http.server.ThreadingHTTPServer:
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer((host, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def folder(platform: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files, with the address of this platform."""
    copied = tmp_path_factory.mktemp("spa")
    for name in ("index.html", "style.css", "app.js"):
        text = (SAMPLE / name).read_text().replace("http://localhost:8000", platform)
        (copied / name).write_text(text)
    return copied


@pytest.fixture(scope="module")
def origin(folder: Path, spa_port: int) -> Iterator[str]:
    server = serve(folder, "localhost", spa_port)
    yield f"http://localhost:{spa_port}"
    server.shutdown()


@pytest.fixture
def watched(chromium: Browser, origin: str, platform: str) -> Iterator[Watched]:
    found = Watched(chromium, origin, platform)
    yield found
    found.context.close()


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.goto("/")
    page.get_by_label("E-mail address").fill("admin@localhost")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def seeded_documents(page: Page, platform: str) -> set[str]:
    """The states they are in."""
    answer = page.request.get(f"{platform}/api/v1/documents/?limit=100")
    return {row["status"] for row in answer.json()["results"]}


def test_person_signs_in_reads_a_streamed_answer_and_signs_out(watched: Watched, platform: str) -> None:
    page = watched.page
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    wait_for(lambda: seeded_documents(page, platform) == {"ready"}, 60)
    page.get_by_label("Your question").fill("How many days of annual leave do I get?")
    with page.expect_response("**/query") as streamed:
        page.get_by_role("button", name="Ask", exact=True).click()

    answer = page.locator("#answer")
    expect(answer).to_have_attribute("aria-busy", "false", timeout=LONG_MS)
    expect(answer).to_contain_text("30 days of annual leave")
    expect(answer.get_by_role("link", name="[1]").first).to_be_visible()
    expect(answer.locator("#sources q").first).to_contain_text("30 days of annual leave")
    assert streamed.value.headers["content-type"].startswith("text/event-stream")
    assert streamed.value.headers["access-control-allow-origin"] == page.evaluate("location.origin")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expected = f"{platform}/api/v1/session/"
    assert [one for one in watched.complaints if "401" not in one] == []
    assert all(cookie["httpOnly"] for cookie in watched.context.cookies(expected) if cookie["name"] == "sessionid")


def test_wrong_password_is_said_in_words(watched: Watched) -> None:
    sign_in(watched.page, "not the password")

    expect(watched.page.get_by_role("alert")).to_have_text("E-mail or password is wrong.")
    expect(watched.page.get_by_role("button", name="Sign in")).to_be_visible()


def test_page_of_an_origin_that_is_not_listed_reads_nothing(chromium: Browser, folder: Path, platform: str) -> None:
    server = serve(folder, "localhost", 0)
    stranger = Watched(chromium, f"http://localhost:{server.server_port}", platform)

    stranger.page.goto("/")

    expect(stranger.page.get_by_role("alert")).to_contain_text("CORS_ALLOWED_ORIGINS does not list")
    assert any("blocked by CORS policy" in one for one in stranger.complaints)
    stranger.context.close()
    server.shutdown()


def test_page_fits_a_phone_and_every_field_has_a_name(chromium: Browser, origin: str, platform: str) -> None:
    phone = Watched(chromium, origin, platform, viewport={"width": 390, "height": 844}, color_scheme="dark")
    sign_in(phone.page)
    expect(phone.page.get_by_label("Your question")).to_be_focused()

    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.page.evaluate(
        "[...document.querySelectorAll('input, select, textarea')].every((n) => n.labels.length)"
    )
    phone.context.close()
