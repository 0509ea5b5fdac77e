"""The web process alone, as the supervisor starts it, on the database of the test session; and a browser's manners."""

import asyncio
import ssl
import subprocess
import threading
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


class Proxy:
    """Adds what a proxy adds that ends TLS, and passes the bytes on, from 127.0.0.3.

    It ends TLS with the certificate, on 127.0.0.1; without one it only says so, on 127.0.0.3.
    """

    def __init__(self, target: str, *, keep_host: bool, certificate: Path | None = None) -> None:
        self.target, _, port = target.partition("://")[2].partition(":")
        self.target_port = int(port)
        self.keep_host = keep_host
        self.host, self.port = ("127.0.0.1" if certificate else "127.0.0.3"), free_port()
        self.url = f"{'https' if certificate else 'http'}://{self.host}:{self.port}"
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
        if self._tls is not None and certificate is not None:
            self._tls.load_cert_chain(certificate)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        except asyncio.IncompleteReadError:  # a browser opens connections in advance
            writer.close()
            return
        length = next((int(line[15:]) for line in head if line.lower().startswith("content-length:")), 0)
        dropped = ("connection:",) if self.keep_host else ("connection:", "host:")
        kept = [line for line in head if not line.lower().startswith(dropped)]
        added = [] if self.keep_host else [f"Host: {self.target}:{self.target_port}"]
        added += ["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9", "Connection: close"]
        back, to = await asyncio.open_connection(self.target, self.target_port, local_addr=("127.0.0.3", 0))
        to.write("\r\n".join([*kept, *added, "", ""]).encode() + await reader.readexactly(length))
        writer.write(await back.read())
        await writer.drain()
        writer.close()
        to.close()

    def __enter__(self) -> "Proxy":
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        server = asyncio.start_server(self._pass, self.host, self.port, ssl=self._tls)
        asyncio.run_coroutine_threadsafe(server, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


class Visitor:
    """A browser as far as a login needs one: keeps cookies, sends Origin with forms, follows redirects.

    address: what stands in its address bar; `via` is where the bytes go. Secure cookies go to https addresses alone.
    trusted: the certificate that it trusts beside no other.
    """

    def __init__(self, address: str, via: str = "", trusted: Path | None = None) -> None:
        self.address = address
        self.via = via or address
        self.cookies: dict[str, tuple[str, str]] = {}
        verify = ssl.create_default_context(cafile=trusted) if trusted else True
        self._client = httpx2.Client(trust_env=False, follow_redirects=False, timeout=10, verify=verify)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Host": self.address.partition("://")[2], **options.pop("headers", {})}
        sent = [f"{name}={value}" for name, (value, flags) in self.cookies.items() if self._goes(flags)]
        if sent:
            headers["Cookie"] = "; ".join(sent)
        if method != "GET":
            headers.setdefault("Origin", self.address)
            headers.setdefault("Referer", f"{self.address}/")
        name = headers["Host"].partition(":")[0]  # which the certificate is for
        options["extensions"] = {"sni_hostname": name} if self.via.startswith("https://") else {}
        answer = self._client.request(method, f"{self.via}{path}", headers=headers, **options)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value, _, flags = rest.partition(";")
            self.cookies[name] = (value, flags)
        return answer

    def _goes(self, flags: str) -> bool:
        return "secure" not in flags.lower() or self.address.startswith("https://")

    def sign_in(self, email: str, password: str, then: str = "/panel/") -> httpx2.Response:
        """Open the sign-in page, send its form, and come to where it leads."""
        page = self.request("GET", f"/panel/login/?next={then}")
        assert 'name="csrfmiddlewaretoken"' in page.text, page.text
        answer = self.submit("/panel/login/", username=email, password=password, next=then)
        return self.request("GET", answer.headers["location"]) if answer.status_code == 302 else answer

    def submit(self, path: str, **form: str) -> httpx2.Response:
        """Send a form of a page that was opened before."""
        values = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ("", ""))[0], **form}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, content=urlencode(values), headers=headers)
