"""One click from what was connected to drafts of the seeded tools, in real Chromium, with keys alone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from magnet.tests.browser import LONG_MS, PASSWORD, Watched, connected
from magnet.tests.platform import Platform
from magnet.tests.scripted_vendors import VendorServer, ollama, seen_in_a_browser

pytestmark = [pytest.mark.browser, pytest.mark.exhaustive, pytest.mark.timeout(240)]

TOOL = "Handbook answers"


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    with VendorServer(seen_in_a_browser) as server:
        yield server


@pytest.fixture
def watched(chromium: Browser, vendor: VendorServer, tmp_path) -> Iterator[Watched]:
    """A fresh platform, where nothing is connected; the one of the other browser tests would offer it everywhere."""
    with VendorServer(ollama) as local:
        allow = f"provider={vendor.endpoint},provider={local.endpoint}"
        platform = Platform(tmp_path, ADMIN_PASSWORD=PASSWORD, OUTBOUND_ALLOW=allow, OLLAMA_HOST=local.url)
        platform.start_and_wait()
        found = Watched(chromium, f"http://localhost:{platform.port}")
        yield found
        found.context.close()
        platform.terminate()
    assert found.complaints == []


def draft_waits(page: Page, model: str) -> None:
    """The overview leads to the tool, which has a draft with this model and serves the local one."""
    page.goto("/admin/")
    note = page.locator(".mg-note", has_text="wait to be tried and published")
    expect(note).to_contain_text(model)
    note.get_by_role("link", name=TOOL).press("Enter")
    page.wait_for_url("**/rag/ragtool/**")
    variants = page.get_by_role("region", name="Variants").get_by_role("row")
    expect(variants.nth(1)).to_contain_text("Draft")
    expect(variants.nth(2)).to_contain_text("Served")
    variants.nth(1).get_by_role("link", name="Edit").press("Enter")
    page.wait_for_url("**/rag/ragvariant/**")
    expect(page.locator("#id_model option:checked")).to_contain_text(model)


def test_an_ollama_on_the_machine_is_offered_and_used(watched):
    page = watched.sign_in()
    page.goto("/admin/llm/provider/")
    look, use = (page.get_by_role("button", name=name) for name in ("Look for Ollama", "Use the Ollama on"))
    expect(look.or_(use).first).to_be_visible()
    if look.is_visible():
        look.press("Enter")
    use.press("Enter", timeout=LONG_MS)
    page.wait_for_load_state()

    draft_waits(page, "llama3.2")


def test_a_model_that_was_connected_is_offered_and_used(watched, vendor):
    page = watched.sign_in()
    provider = connected(page, vendor.url, "Cloud")
    page.goto(f"/admin/llm/model/add/?provider={provider}&kind=chat&name=Big&slug=big")
    page.get_by_label("Models that it offers").select_option("big-chat", timeout=LONG_MS)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/llm/model/")

    page.goto("/admin/")
    page.get_by_role("button", name="Use Big in").press("Enter")
    expect(page.locator("body")).to_contain_text("Drafts are made", timeout=LONG_MS)

    draft_waits(page, "Big")
