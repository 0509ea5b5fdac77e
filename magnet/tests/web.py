"""The web process alone, as the supervisor starts it, on the database of the test session; and a browser's manners."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from django.conf import settings
from django.db import connection

from magnet.embedded.server import free_port
from magnet.environment import BASE_DIR, Environment
from magnet.supervisor import Supervisor
from magnet.tests.platform import clean_environment, wait_for


@contextmanager
def web_process(folder: Path, *, host: str = "127.0.0.1", **variables: str) -> Iterator[str]:
    """Its address. `PORT` in a variable stands for the port."""
    port = str(free_port())
    base = connection.settings_dict
    environment = {
        "DATA_DIR": str(folder),
        "HOST": host,
        "PORT": port,
        "DATABASE_URL": f"postgresql://{base['USER']}:{base['PASSWORD']}@{base['HOST']}:{base['PORT']}/{base['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        **{name: value.replace("PORT", port) for name, value in variables.items()},
    }
    command = Supervisor(Environment(environment)).parts[0].command
    log = folder / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=BASE_DIR, env=clean_environment(**environment), stdout=output, stderr=output
        )
    try:
        wait_for(lambda: process.poll() is not None or _answers(f"http://{host}:{port}"), 30)
        assert process.poll() is None, log.read_text()
        yield f"http://{host}:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/health/live", headers={"Host": "localhost"}, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


class Visitor:
    """A browser as far as a login needs one: keeps cookies, sends Origin with forms, follows redirects.

    address: what stands in its address bar; `via` is where the bytes go. Secure cookies go to https addresses alone.
    """

    def __init__(self, address: str, via: str = "") -> None:
        self.address = address
        self.via = via or address
        self.cookies: dict[str, tuple[str, str]] = {}
        self._client = httpx2.Client(trust_env=False, follow_redirects=False, timeout=10)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Host": self.address.partition("://")[2], **options.pop("headers", {})}
        sent = [f"{name}={value}" for name, (value, flags) in self.cookies.items() if self._goes(flags)]
        if sent:
            headers["Cookie"] = "; ".join(sent)
        if method != "GET":
            headers.setdefault("Origin", self.address)
            headers.setdefault("Referer", f"{self.address}/")
        answer = self._client.request(method, f"{self.via}{path}", headers=headers, **options)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value, _, flags = rest.partition(";")
            self.cookies[name] = (value, flags)
        return answer

    def _goes(self, flags: str) -> bool:
        return "secure" not in flags.lower() or self.address.startswith("https://")

    def sign_in(self, email: str, password: str) -> httpx2.Response:
        """Open the sign-in page, send its form, and come to where it leads."""
        page = self.request("GET", "/panel/login/?next=/panel/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None, page.text
        form = {"csrfmiddlewaretoken": token[1], "username": email, "password": password, "next": "/panel/"}
        answer = self.request(
            "POST",
            "/panel/login/",
            content=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        return self.request("GET", answer.headers["location"]) if answer.status_code == 302 else answer
