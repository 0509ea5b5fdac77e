"""Choosing a model in the admin, in real Chromium, with keys alone, and without the picker's script."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from magnet.tests.browser import LONG_MS, Watched, connected

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def watched(chromium: Browser, platform: str) -> Iterator[Watched]:
    found = Watched(chromium, platform)
    yield found
    found.context.close()
    assert found.complaints == []


def test_a_model_is_picked_from_what_its_provider_offers(watched, outside):
    page = watched.sign_in()
    provider = connected(page, outside.url, "Picked")

    page.goto(f"/admin/llm/model/add/?provider={provider}")
    offered = page.get_by_label("Models that it offers")
    expect(offered).to_be_focused(timeout=LONG_MS)
    expect(page.get_by_role("status")).to_contain_text("It offers 2 models")
    page.keyboard.type("big")
    page.keyboard.press("Tab")

    expect(page.locator("#id_identifier")).to_have_value("big-chat")
    expect(page.get_by_role("status")).to_contain_text("reads 65,536 tokens; can: vision")
    expect(page.locator("#id_kind")).to_have_value("chat")
    expect(page.locator("#id_vision")).to_have_value("true")
    expect(page.locator("#id_tool_calling")).to_have_value("false")
    expect(page.locator("#id_json_mode")).to_have_value("unknown")
    expect(page.locator("#id_slug")).to_have_value("big-chat")
    offered.select_option("small-embed")
    expect(page.locator("#id_name")).to_have_value("Small embedder")
    expect(page.locator("#id_kind")).to_have_value("embedding")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/**")
    expect(page.locator("#id_max_input_tokens")).to_have_value("512")
    page.get_by_role("button", name="List models").press("Enter")
    expect(page.get_by_label("Models that it offers").locator("option:checked")).to_contain_text(
        "here as small-embedder"
    )


def test_why_a_vendor_lists_nothing_is_told_in_place(watched, outside):
    page = watched.sign_in()
    provider = connected(page, outside.url, "Refused", "sk-wrong-0123456789")

    page.goto(f"/admin/llm/model/add/?provider={provider}")

    told = page.get_by_role("alert")
    expect(told).to_contain_text("Incorrect API key provided", timeout=LONG_MS)
    expect(told).not_to_contain_text("sk-wrong")
    expect(page.get_by_label("Models that it offers")).to_be_hidden()
    watched.complaints[:] = [one for one in watched.complaints if "502" not in one]


def test_without_its_script_the_identifier_is_typed(watched, outside):
    page = watched.sign_in()
    provider = connected(page, outside.url, "Typed")
    page.route("**/magnet/pick*.js", lambda route: route.abort())

    page.goto(f"/admin/llm/model/add/?provider={provider}&kind=chat&name=By+hand&slug=by-hand")
    page.get_by_label("Identifier").fill("big-chat")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/**")

    expect(page.get_by_label("Identifier")).to_have_value("big-chat")
    expect(page.get_by_role("button", name="List models")).to_have_count(0)
    watched.complaints[:] = [one for one in watched.complaints if "ERR_FAILED" not in one]
