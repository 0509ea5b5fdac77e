"""Chromium that keeps what it complains about."""

from typing import Any

from playwright.sync_api import Browser, Page

PASSWORD = "a password for the browser tests"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LONG_MS = 60_000


class Watched:
    """A page that keeps what a browser complains about: errors, refused scripts, dialogs, foreign requests."""

    def __init__(self, browser: Browser, base: str, *others: str, **options: Any) -> None:
        self.known = (base, *others, "data:", "blob:")
        self.context = browser.new_context(base_url=base, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", lambda one: one.type == "error" and self.complaints.append(one.text))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, address: str) -> None:
        if not address.startswith(self.known):
            self.complaints.append(f"request: {address}")

    def sign_in(self) -> Page:
        self.page.goto("/panel/login/")
        self.page.get_by_label("E-mail address").fill("admin@localhost")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/admin/")
        return self.page


def connected(page: Page, url: str, name: str, key: str = "sk-0123456789") -> str:
    """The id of a new provider at this vendor, made by its form."""
    page.goto("/admin/llm/provider/add/")
    page.get_by_label("Name").fill(name)
    page.locator("#id_slug").fill(name.lower())
    page.locator("#id_type").select_option("openai")
    page.locator("#id_base_url").fill(url)
    page.locator("#id_api_key").fill(key)
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/**")
    return page.url.split("/")[6]
