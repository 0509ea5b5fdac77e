"""What people do, in real Chromium against the whole platform."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from magnet.tests.browser import LONG_MS, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def watched(chromium: Browser, platform: str) -> Iterator[Watched]:
    found = Watched(chromium, platform)
    yield found
    found.context.close()
    assert found.complaints == []


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.sign_in()


def ready_documents(page: Page) -> None:
    """Wait for the seeded documents; the page follows by itself."""
    page.goto("/admin/knowledge/knowledgesource/")
    page.get_by_role("link", name="Handbook").click()
    expect(page.locator("#documents-count")).to_have_attribute("data-live", "off", timeout=LONG_MS)


def test_question_is_answered_and_its_citation_opens_the_passage(page):
    ready_documents(page)
    page.goto("/panel/rag-tools/handbook-qa/")
    page.get_by_label("Your question").fill("How many days of annual leave do I get?")

    page.keyboard.press("Enter")

    answer = page.locator("article.answer")
    expect(answer.locator(".answer-text")).to_have_attribute("aria-busy", "false", timeout=LONG_MS)
    expect(answer.locator(".answer-text")).to_contain_text("30 days of annual leave")
    marker = answer.get_by_role("button", name="Annual leave").first
    marker.click()
    passage = page.get_by_role("dialog")
    expect(passage).to_be_visible()
    expect(passage.locator("mark")).to_have_count(1)
    expect(passage.get_by_role("heading")).to_have_text("Annual leave")
    page.keyboard.press("Escape")
    expect(passage).to_be_hidden()
    expect(marker).to_be_focused()


def test_question_outside_the_sources_gets_no_invention(page):
    ready_documents(page)
    page.goto("/panel/rag-tools/handbook-qa/")
    page.get_by_label("Your question").fill("Who won the football world cup in 1998?")

    page.get_by_role("button", name="Ask", exact=True).click()

    expect(page.locator("article.answer")).to_contain_text("Not in the sources", timeout=LONG_MS)
    expect(page.locator("article.answer .marker")).to_have_count(0)


def test_operator_sees_passages_times_and_trace(page):
    ready_documents(page)
    page.get_by_role("link", name="Ask a RAG tool").click()
    page.get_by_label("Question").fill("How many days of annual leave do I get?")

    page.keyboard.press("Enter")

    expect(page.locator("text=Trace: every step over time")).to_be_visible(timeout=LONG_MS)
    expect(page.locator(".mg-table tbody tr")).not_to_have_count(0)
    page.locator("text=Trace: every step over time").click()
    expect(page.locator(".mg-span svg rect").first).to_be_visible()


def test_search_shows_ranked_passages(page):
    ready_documents(page)
    page.goto("/admin/rag/retrievaltool/try/")
    page.get_by_label("Query").fill("annual leave")

    page.keyboard.press("Enter")

    expect(page.locator(".mg-table tbody tr").first).to_contain_text("#1", timeout=LONG_MS)
    page.locator(".mg-passage-cell button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_dropped_files_become_ready_or_say_why_not(watched, tmp_path):
    page = watched.sign_in()
    good, bad = tmp_path / "canteen.md", tmp_path / "tool.exe"
    good.write_text("# Canteen\n\nThe canteen opens at 11:30.\n")
    bad.write_bytes(b"MZ\x90\x00\x03" + bytes(200))
    page.goto("/admin/knowledge/knowledgesource/add/")
    page.get_by_label("Name").press_sequentially("Canteen <img src=x onerror=alert(1)>")
    expect(page.get_by_label("Slug")).to_have_value("canteen-img-srcx-onerroralert1")
    page.get_by_role("button", name="Save and continue editing").click()

    page.locator("#upload-files").set_input_files([good, bad])

    expect(page.locator(".mg-file-error")).to_be_visible(timeout=LONG_MS)
    live = page.locator("#documents-live")
    expect(live).to_contain_text("Ready", timeout=LONG_MS)
    expect(live.get_by_role("link")).to_have_count(1)
    live.get_by_role("link").click()
    expect(page.locator(".mg-doc")).to_contain_text("The canteen opens at 11:30.")
    watched.complaints[:] = [one for one in watched.complaints if "415" not in one]


@pytest.mark.exhaustive
def test_every_page_of_the_sidebar_is_quiet(watched):
    """No error, no refused script or style, nothing from another host."""
    page = watched.sign_in()
    links = page.locator("#nav-sidebar-apps a").evaluate_all("nodes => nodes.map(node => node.getAttribute('href'))")

    for link in [*links, "/admin/rag/ragtool/add/", "/admin/accounts/apikey/add/", "/panel/"]:
        page.goto(link, wait_until="networkidle")
        assert watched.complaints == [], link

    assert len(links) >= 17


def test_pages_fit_a_phone(chromium, platform):
    phone = Watched(chromium, platform, viewport=PHONE)
    page = phone.sign_in()

    for link in (
        "/panel/", "/panel/rag-tools/handbook-qa/", "/admin/", "/admin/rag/ragtool/try/", "/admin/llm/model/",
        "/admin/llm/provider/", "/admin/llm/model/add/", "/admin/prompts/prompttemplate/add/",
        "/admin/observability/usagerecord/report/",
    ):  # fmt: skip
        page.goto(link)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], link
    phone.context.close()


def test_lists_need_no_scrolling_sideways_on_a_screen(watched):
    page = watched.sign_in()

    for link in ("/admin/observability/schedule/", "/admin/llm/model/"):
        page.goto(link)
        expect(page.locator("#result_list tbody tr")).not_to_have_count(0)
        width = "node => [node.scrollWidth, node.closest('.simplebar-content-wrapper, main').clientWidth]"
        needed, given = page.locator("#result_list").evaluate(width)
        assert needed <= given, link


HOSTILE = """
async () => {
  const { renderText, renderQuoted, outerLink } = await import("/static/magnet/render.js");
  const marker = (n) => document.createTextNode(`<${n}>`);
  const texts = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](https://evil.example/x.png)",
    "[click](javascript:alert(1))", "[go](https://evil.example/)", "`<b>` **<i>bold</i>** *<u>em</u>*",
    "```\\n<script>alert(1)</script>\\n```", "- <svg onload=alert(1)>\\n- [1] two", "> quoted <iframe src=//evil>",
    "# <a href=javascript:alert(1)>x</a>", "<style>*{display:none}</style>", "1. one\\n2) two", "[9999] [12345]",
  ];
  const box = document.createElement("div");
  document.body.append(box);
  const tags = new Set();
  for (const text of texts) {
    renderText(box, text, marker);
    for (const node of box.querySelectorAll("*")) {
      tags.add(node.tagName);
      for (const one of node.attributes) tags.add(`@${one.name}`);
    }
  }
  const mark = renderQuoted(box, "a <b> c", "<b>");
  return {
    tags: [...tags].sort(), quoted: box.innerHTML, mark: mark.textContent, missing: renderQuoted(box, "abc", "x"),
    links: ["javascript:alert(1)", "data:text/html,x", "nonsense", "https://ok.example/"].map(
      (one) => !!outerLink(one, "x"),
    ),
  };
}
"""


def test_model_output_becomes_text_and_never_markup(page):
    page.goto("/panel/")

    found = page.evaluate(HOSTILE)

    allowed = {"BLOCKQUOTE", "CODE", "EM", "H3", "LI", "OL", "P", "PRE", "SPAN", "STRONG", "UL", "BR"}
    assert {one for one in found["tags"] if not one.startswith("@")} <= allowed
    assert {one for one in found["tags"] if one.startswith("@")} == {"@class", "@start", "@title"}
    assert found["quoted"] == "a <mark>&lt;b&gt;</mark> c"
    assert found["mark"] == "<b>"
    assert found["missing"] is None
    assert found["links"] == [False, False, False, True]


STREAM = """
async () => {
  const { Run } = await import("/static/magnet/stream.js");
  const asked = [];
  const event = (id, name, data) => `id: ${id}\\nevent: ${name}\\ndata: ${JSON.stringify(data)}\\n\\n`;
  const parts = [
    [
      'id: 1\\r\\nevent: run.started\\r\\ndata: {"run_id": "r1"}\\r',
      '\\n\\r\\nid: 2\\nevent: message.delta\\ndata: {"text": "gr\u00fc',
      'n"}\\n\\n: ping\\n\\nid: 3\\nevent: mess',
    ],
    [
      event(2, "message.delta", { text: "again" }) + event(3, "message.delta", { text: "!" }),
      'id: 4\\nevent: run.completed\\ndata: {"status":\\ndata: "completed"}\\n\\n',
    ],
  ];
  const real = window.fetch;
  window.fetch = async (url, options) => {
    asked.push([url, options.headers["Last-Event-ID"] || null, options.headers["X-Workspace"]]);
    const bytes = parts.shift().flatMap((text) => {
      const whole = new TextEncoder().encode(text);
      return [whole.slice(0, 5), whole.slice(5)];
    });
    const body = new ReadableStream({
      pull(controller) {
        if (bytes.length) controller.enqueue(bytes.shift());
        else if (parts.length) controller.error(new TypeError("the line dropped"));
        else controller.close();
      },
    });
    return new Response(body, { status: 200 });
  };
  const events = [];
  const onEvent = (name, data) => events.push([name, data.text || data.status || null]);
  const run = new Run({ url: "/ask", workspace: "w", csrf: "t", onEvent });
  await run.start({ question: "?" });
  window.fetch = real;
  return { asked, events };
}
"""


def test_dropped_stream_goes_on_where_it_stopped(page):
    page.goto("/panel/")

    found = page.evaluate(STREAM)

    assert found["asked"] == [["/ask", None, "w"], ["/api/v1/runs/r1/events", "2", "w"]]
    assert found["events"] == [
        ["run.started", None],
        ["message.delta", "grün"],
        ["message.delta", "!"],
        ["run.completed", "completed"],
    ]


def test_stop_cancels_the_run(watched):
    """The button asks the server to stop; the stream ends with what has come so far."""
    page = watched.sign_in()
    page.goto("/panel/rag-tools/handbook-qa/")
    page.evaluate(
        """() => {
          const send = new TextEncoder();
          let stream;
          window.stopped = [];
          window.fetch = async (url, options) => {
            if (url.endsWith("/cancel")) {
              window.stopped.push([url, options.method, !!options.headers["X-CSRFToken"]]);
              stream.enqueue(send.encode('id: 3\\nevent: run.cancelled\\ndata: {"content": "Half an"}\\n\\n'));
              stream.close();
              return new Response(null, { status: 202 });
            }
            return new Response(new ReadableStream({ start(controller) {
              stream = controller;
              controller.enqueue(send.encode('id: 1\\nevent: run.started\\ndata: {"run_id": "r9"}\\n\\n'));
              controller.enqueue(send.encode('id: 2\\nevent: message.delta\\ndata: {"text": "Half"}\\n\\n'));
            } }));
          };
        }"""
    )
    page.get_by_label("Your question").fill("Anything?")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Stop").click()

    expect(page.locator("article.answer")).to_contain_text("Stopped. This is as far as it came.")
    expect(page.locator("article.answer .answer-text")).to_have_text("Half an")
    assert page.evaluate("window.stopped") == [["/api/v1/runs/r9/cancel", "POST", True]]


def test_problem_is_told_in_words_and_the_question_stays(watched):
    page = watched.sign_in()
    page.goto("/panel/rag-tools/handbook-qa/")
    page.evaluate(
        """() => { window.fetch = async () => new Response(
          JSON.stringify({ detail: "The provider is down.", request_id: "abc" }), { status: 502 }); }"""
    )
    page.get_by_label("Your question").fill("Anything?")

    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_have_text("The provider is down.")
    expect(page.get_by_label("Your question")).to_have_value("Anything?")


def test_api_key_is_shown_once(page):
    page.goto("/admin/accounts/apikey/add/")
    page.get_by_label("Name").fill("ci")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.locator("#issued-key")).to_contain_text("mk_")
    page.get_by_role("link", name="I have copied it").click()

    expect(page.locator("#result_list")).to_contain_text("ci")


def test_dark_mode_follows_the_system(chromium, platform):
    dark = Watched(chromium, platform, color_scheme="dark")
    dark.page.goto("/panel/login/")

    colour = dark.page.evaluate("getComputedStyle(document.body).backgroundColor")

    dark.context.close()
    assert colour == "rgb(26, 36, 47)"
