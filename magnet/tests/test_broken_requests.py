"""What no schema generates, sent to every operation: no body, other media types, NUL, verbs that there are not.

None breaks the server, and every answer is one that the description names.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from core.access import Role
from magnet.tests.api_walk import values_of
from magnet.tests.contract import Described, assert_as_described, described
from magnet.tests.fuzz_target import Place, places
from magnet.tests.scripted_provider import ScriptedProvider

pytestmark = [pytest.mark.exhaustive, pytest.mark.django_db, pytest.mark.timeout(120)]

# What deletes comes last.
OPERATIONS = sorted(described(), key=lambda one: one.method == "DELETE")
PATHS = sorted({one.path for one in OPERATIONS})
WAIT_SECONDS = 30
BROKEN: dict[str, tuple[bytes | None, str]] = {
    "no body": (None, ""),
    "an empty body": (b"", "application/json"),
    "null": (b"null", "application/json"),
    "a list": (b"[]", "application/json"),
    "a text": (b'"text"', "application/json"),
    "NUL alone": (b"\0", "application/json"),
    "NUL in a value": (b'{"name": "a\\u0000b"}', "application/json"),
    "no media type": (b"{}", ""),
    "no such media type": (b"<a/>", "text/xml"),
    "a media type that is none": (b"{}", "\\;=/"),
    "a character set that is none": (b"{}", "application/json; charset=nonsense"),
    "a form": (b"name=a%00b", "application/x-www-form-urlencoded"),
    "parts without a boundary": (b"--x\r\n", "multipart/form-data"),
    "NUL in a part": (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\0.txt"\r\n\r\n\0\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    ),
}
VERBS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"]
each = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


@pytest.fixture(scope="module")
def place(
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
    scripted_server: ScriptedProvider,
) -> Iterator[Place]:
    with (
        django_db_blocker.unblock(),
        places(tmp_path_factory.mktemp("broken"), scripted_server, "south") as made,
    ):
        yield made[0]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=WAIT_SECONDS) as client:
        yield client


class Sender:
    """Sends as the workspace's admin, each request alone."""

    def __init__(self, client: httpx2.Client, place: Place) -> None:
        self.client = client
        self.place = place

    def __call__(self, method: str, path: str, body: bytes | None = None, form: str = "") -> httpx2.Response:
        headers = {**self.place.headers(Role.ADMIN), "If-Match": "*", **({"Content-Type": form} if form else {})}
        answer = self.client.request(method, self.place.address + path, content=body, headers=headers)
        self.client.cookies.clear()
        return answer


@pytest.fixture
def send(client: httpx2.Client, place: Place) -> Sender:
    return Sender(client, place)


@pytest.mark.parametrize("path", PATHS)
def test_every_verb(path: str, send: Sender) -> None:
    described_verbs = {one.method for one in OPERATIONS if one.path == path}

    for verb in VERBS:
        if verb in described_verbs:
            continue
        answer = send(verb, path.format(**values_of(send.place.world, path)), b"\0", "application/json")
        # HEAD is the GET without its body; OPTIONS names the verbs and is no operation of the description.
        as_get = verb == "OPTIONS" or (verb == "HEAD" and "GET" in described_verbs)
        expected = {200, 404} if as_get else {404, 405}
        assert answer.status_code in expected, (verb, answer.status_code, answer.text[:300])


@each
def test_nul_in_the_path_and_in_the_query(operation: Described, send: Sender) -> None:
    values = send.place.values(operation)
    names = [one["name"] for one in operation.parameters if one["in"] == "query"]
    nowhere = operation.path.format(**dict.fromkeys(values, "%00"))
    paths = [nowhere] if values else []
    # Others than GET heed no query, and the next test needs the rows as they are.
    read = operation.path.format(**values) if operation.method == "GET" else nowhere
    paths += [f"{read}?{name}=a%00b" for name in [*names, "x%00y", "workspace"]]

    for path in paths:
        _assert_described(operation, send(operation.method, path), path)


@each
def test_a_broken_body(operation: Described, send: Sender) -> None:
    path = operation.path.format(**send.place.values(operation))

    for kind, (body, form) in BROKEN.items():
        _assert_described(operation, send(operation.method, path, body, form), kind)


def test_the_process_lives(send: Sender) -> None:
    assert send("GET", "/health/ready").status_code == 200


def _assert_described(operation: Described, answer: httpx2.Response, kind: str) -> None:
    # 502 is described where a vendor is asked, and says that the vendor failed.
    assert answer.status_code < 500 or answer.status_code == 502, (kind, answer.text[:300])
    if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        assert str(answer.status_code) in operation.answers, kind
        return
    if answer.status_code == 404 and "RateLimit" not in answer.headers:  # of a path that is no route
        assert "not_found" in answer.text, kind
        return
    assert_as_described(operation, answer)
