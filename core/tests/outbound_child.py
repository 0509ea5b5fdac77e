"""A process of its own that reads hostile answers with one shape of client, and says what they cost it.

`python -m core.tests.outbound_child SHAPE ENDPOINT`: a JSON object by name of the answer, with how the request ended,
its seconds, and `grown`: by how many bytes the process was ever larger than before.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import openai
import urllib3

from core.loop import run_in_loop
from core.outbound import OutboundCaps, OutboundUse, async_client, async_transport
from core.outbound_caps import CAPS
from core.outbound_httpx import httpx_client
from core.outbound_proxy import outbound_proxy
from core.outbound_requests import requests_session

USE = OutboundUse.PROVIDER
SECONDS = 1.0
"""Instead of the ten minutes of this use, so that the slow ones end here too. The sizes are those of the use."""
LARGE_SECONDS = 5.0
LARGE = ("announced", "chunked", "until-closed", "bomb", "headers", "events")
DRIPS = ("drip", "drip-head", "drip-events")
Read = Callable[[str], object]


def checked(endpoint: str, caps: OutboundCaps):
    return async_client(USE, transport=async_transport(USE, allow=allowed(endpoint), caps=caps), caps=caps)


def allowed(endpoint: str):
    return {USE.value: frozenset({endpoint})}


def httpx2_reader(endpoint: str, caps: OutboundCaps) -> Read:
    client = checked(endpoint, caps)
    return lambda url: run_in_loop(client.get(url))


def httpx_reader(endpoint: str, caps: OutboundCaps) -> Read:
    client = httpx_client(USE, client=checked(endpoint, caps))
    return lambda url: run_in_loop(client.get(url))


def requests_reader(endpoint: str, caps: OutboundCaps) -> Read:
    return requests_session(USE, client=checked(endpoint, caps)).get


def openai_reader(endpoint: str, caps: OutboundCaps) -> Read:
    """Its stream of events, as answers of models are read."""

    async def read(url: str) -> None:
        http_client = checked(endpoint, caps)
        sdk = openai.AsyncOpenAI(base_url=url, api_key="k", http_client=http_client, max_retries=0)
        async for _ in await sdk.chat.completions.create(model="m", messages=[], stream=True):
            pass

    return lambda url: run_in_loop(read(url))


def proxy_reader(endpoint: str, caps: OutboundCaps) -> Read:
    """Bytes as they pass: unpacking is up to the program behind the proxy."""

    def read(url: str) -> None:
        with outbound_proxy(USE, allow=allowed(endpoint), caps=caps) as proxy:
            parts = urlsplit(proxy.url)
            headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password}")
            pool = urllib3.ProxyManager(f"http://127.0.0.1:{parts.port}", proxy_headers=headers, retries=False)
            answer = pool.request("GET", url, preload_content=False, decode_content=False, timeout=30)
            for _ in answer.stream(65536):
                pass

    return read


READERS = {
    "httpx2": httpx2_reader,
    "httpx": httpx_reader,
    "requests": requests_reader,
    "openai": openai_reader,
    "proxy": proxy_reader,
}


def peak() -> int:
    """The largest resident size, in bytes. (What getrusage says begins with that of the parent.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def read(reader: Read, url: str) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = peak(), time.monotonic()
    try:
        reader(url)
        ended = "read"
    except Exception as error:  # noqa: BLE001 - of many libraries; the test asks which it was
        ended = f"{type(error).__name__}: {error}"
    return {"ended": ended, "seconds": time.monotonic() - began, "grown": peak() - before}


def main(shape: str, endpoint: str) -> None:
    told = {}
    for seconds, kinds in ((LARGE_SECONDS, LARGE), (SECONDS, DRIPS)):
        reader = READERS[shape](endpoint, OutboundCaps(max_bytes=CAPS[USE].max_bytes, total_seconds=seconds))
        read(reader, f"http://{endpoint}/ok")  # what is imported and opened once is no cost of an answer
        told |= {kind: read(reader, f"http://{endpoint}/{kind}") for kind in kinds}
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
