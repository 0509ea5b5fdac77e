"""Idempotency-Key: the same request again gets the stored answer, and has its effect once.

The effect and its answer are one transaction, which holds an advisory lock on the key. So two requests never work at
once, and a process that dies in the middle leaves neither an effect nor a claim that somebody has to wait for. Errors
are not stored: nothing happened then, and the same request is simply tried again.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.http import QueryDict
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core.exceptions import Conflict, FieldError, InvalidInput, MagnetError
from core.faults import fault
from core.models import StoredAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
RETRY_AFTER_SECONDS = 1
SLOW = timedelta(minutes=10)
WORKING = 102  # HTTP's "Processing", on a row whose answer is still to come
KEPT_HEADERS = ("ETag", "Location")

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class KeyReused(MagnetError):
    """The key was sent before with another request."""

    code = "idempotency_key_reused"
    status = 422
    title = "Idempotency-Key reused"


class StillRunning(Conflict):
    """The first request with this key has not ended."""

    code = "idempotency_in_progress"
    title = "Still running"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is still running.",
            hint="Send the same request again in a moment.",
            retry_after=RETRY_AFTER_SECONDS,
        )


@dataclass(frozen=True)
class Attempt:
    """A request that carries a key. key_hash: who sends which key where; request_hash: what is asked for."""

    key_hash: str
    request_hash: str


def attempt_of(request: Request) -> Attempt | None:
    """The attempt that this authenticated POST is, or None without the header. Raises InvalidInput for a bad key."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not _KEY.fullmatch(key):
        detail = "An Idempotency-Key is 1 to 255 visible ASCII characters."
        raise InvalidInput(detail, errors=[FieldError(HEADER, "invalid", detail)])
    caller: Any = request.auth
    workspace = request.headers.get("X-Workspace", "")
    return Attempt(
        key_hash=_digest(caller.identity, workspace, request.path, key),
        request_hash=_digest(request.META.get("QUERY_STRING", ""), *_parts(request.data)),
    )


@contextmanager
def claimed(attempt: Attempt) -> Iterator[StoredAnswer | None]:
    """Hold the key for one transaction; gives what is stored under it.

    Raises StillRunning when another request holds it, KeyReused when it is stored with another request.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_lock_number(attempt.key_hash)])
            if not cursor.fetchone()[0]:
                raise StillRunning
        kept_since = timezone.now() - KEPT
        stored = StoredAnswer.objects.filter(key_hash=attempt.key_hash, created_at__gt=kept_since).first()
        if stored is not None and stored.request_hash != attempt.request_hash:
            raise KeyReused(
                "This Idempotency-Key was sent before with another body.", hint="Take a new key for a new request."
            )
        fault("answer.claimed")
        yield stored


def keep(attempt: Attempt, **answer: Any) -> None:
    """Store the answer under the claimed key, over one that has expired."""
    values = {"request_hash": attempt.request_hash, "created_at": timezone.now(), **answer}
    StoredAnswer.objects.update_or_create(key_hash=attempt.key_hash, defaults=values)
    fault("answer.stored")


def begin_slowly(attempt: Attempt) -> Any:
    """Claim the key for work that waits for others, without a transaction; gives the stored answer's body, if any.

    Raises StillRunning while another such request works. One that died is forgotten after SLOW.
    """
    with claimed(attempt) as stored:
        if stored is not None and stored.status == WORKING and stored.created_at > timezone.now() - SLOW:
            raise StillRunning
        if stored is not None and stored.status != WORKING:
            return stored.answer.reveal()["body"]
        keep(attempt, status=WORKING, answer={})
    return None


def end_slowly(attempt: Attempt, body: Any) -> None:
    """Store the answer of the work that `begin_slowly` began; None when it failed, so that it may be tried again."""
    with transaction.atomic():
        if body is None:
            StoredAnswer.objects.filter(key_hash=attempt.key_hash, status=WORKING).delete()
        else:
            keep(attempt, status=200, answer={"body": body, "headers": {}})


def answered_once(handler: Callable[..., Response], attempt: Attempt) -> Callable[..., Response]:
    """The handler of a POST, with its effect and its stored answer in one transaction."""

    def once(request: Request, *args: Any, **kwargs: Any) -> Response:
        with claimed(attempt) as stored:
            if stored is not None:
                kept = stored.answer.reveal()
                return Response(kept["body"], status=stored.status, headers={**kept["headers"], REPLAYED: "true"})
            response = handler(request, *args, **kwargs)
            body = json.loads(JSONRenderer().render(response.data)) if response.data is not None else None
            headers = {name: response[name] for name in KEPT_HEADERS if name in response}
            keep(attempt, status=response.status_code, answer={"body": body, "headers": headers})
            return response

    return once


def _parts(data: Any) -> Iterator[str]:
    """The body as texts: JSON in one order, a form by its fields, each file by its name and the hash of its content."""
    if not isinstance(data, QueryDict):
        yield json.dumps(data, sort_keys=True)
        return
    for name, values in sorted(data.lists()):
        for value in values:
            yield name
            yield from (str(value.name), _file_hash(value)) if isinstance(value, UploadedFile) else (str(value),)


def _file_hash(file: "UploadedFile[Any]") -> str:
    digest = hashlib.sha256()
    for block in file.chunks():
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _lock_number(key_hash: str) -> int:
    """A signed 64-bit number, as advisory locks have."""
    return int.from_bytes(bytes.fromhex(key_hash)[:8], "big", signed=True)
