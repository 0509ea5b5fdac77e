"""A whole platform in the test profile, for tests that end its processes: how it is used, and what must hold after.

Leases and waits end TEST_HASTE times sooner than in life. What is asserted are the invariants of the fault tests:
`check()` asks `manage.py check_integrity` for what rows and files can tell, and compares the rest with the provider's
own count, with what was accepted, and with the logs.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from operator import le
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import redis

from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.valkey import EmbeddedValkey
from magnet.tests.platform import Platform, wait_for
from magnet.tests.scripted_provider import ScriptedProvider

HASTE = 12
SETTLE_SECONDS = 120.0
PROVIDER_KEY = "sk-sentinel-of-the-provider"
SPOKEN = "sentinelquestion"  # stands in every question, and may stand in no log
WRITTEN = "sentinelsentence"  # stands in every document, and may stand in no log

OPEN = """
SELECT (SELECT count(*) FROM observability_job WHERE status IN ('pending', 'running'))
     + (SELECT count(*) FROM observability_run WHERE status = 'running')
     + (SELECT count(*) FROM observability_schedule WHERE status <> 'idle')
"""


def text_of(generation: int, sections: int = 12) -> str:
    """A document whose every passage says which generation it is of."""
    sentence = f"In generation{generation} the {WRITTEN} of rule {{n}} says that the lamp is green."
    return "\n\n".join(f"# Rule {n}\n\n{' '.join([sentence.format(n=n)] * 4)}" for n in range(sections))


class Rig:
    """The platform, a caller with a key of all rights, and what was accepted from them."""

    def __init__(self, folder: Path, provider: ScriptedProvider, **variables: str) -> None:
        self.provider = provider
        self.armed = folder / "fault"
        self.platform = Platform(
            folder,
            **{
                "MAGNET_ENV": "test",
                "TEST_HASTE": str(HASTE),
                "MAGNET_FAULT_FILE": str(self.armed),
                "ADMIN_PASSWORD": "a password of the rig",
                "OPENAI_API_KEY": PROVIDER_KEY,
                "OPENAI_BASE_URL": provider.url,
                "OPENAI_CHAT_MODEL": "steady",
                "OPENAI_EMBEDDING_MODEL": "embed",
                "VECTOR_DB_CONFIG": '{"exact_below": 10}',
                **variables,
            },
        )
        self.key = ""
        self.answers: list[str] = []
        self.documents: set[str] = set()
        self.runs: set[str] = set()
        data_dir = DataDir(self.platform.data_dir)
        self.postgres, self.valkey = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)

    # --- the platform

    def start(self) -> None:
        self.platform.start_and_wait()
        if not self.key:
            self.key = self.platform.manage("create_api_key", "rig").stdout.strip()

    def ready(self, seconds: float = 60) -> float:
        return wait_for(self.platform.is_ready, seconds)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: Any) -> Any:
        return self.sql(statement, *values)[0][0]

    # --- faults

    def arm(self, point: str) -> None:
        """The next process that comes to this point ends there."""
        written = self.armed.with_suffix(".new")
        written.write_text(point)
        written.replace(self.armed)

    def struck(self, seconds: float = 60) -> None:
        """Wait until a process has ended at the point."""
        wait_for(lambda: not self.armed.exists(), seconds)

    # --- a caller

    def client(self, timeout: float = 30) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        base = f"http://127.0.0.1:{self.platform.port}"
        return httpx2.Client(base_url=base, headers=headers, timeout=timeout, trust_env=False)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """The answer; None when there was none, because its process ended."""
        try:
            with self.client() as client:
                answer = client.request(method, f"/api/v1/{path}", **options)
        except httpx2.TransportError:
            return None
        self.answers.append(answer.text)
        return answer

    def get(self, path: str) -> Any:
        return self.made("GET", path)

    def made(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer of a request that must succeed; what it accepts must be there for good."""
        answer = self.ask(method, path, headers=headers, **({} if body is None else {"json": body}))
        assert answer is not None, f"{method} {path} had no answer"
        assert answer.is_success, answer.text
        found = answer.json() if answer.content else None
        if isinstance(found, dict) and "document_id" in found:
            self.documents.add(found["document_id"])
        return found

    def source(self, name: str) -> str:
        """A new source; returns its slug."""
        slug = f"{name.replace('.', '-').replace('_', '-')}-{uuid.uuid4().hex[:6]}"
        body = {"name": name, "slug": slug, "chunking": {"max_tokens": 60, "overlap_tokens": 0}}
        self.made("POST", "knowledge-sources/", body)
        return slug

    def tools(self, name: str, source: str) -> None:
        """A published retrieval tool and RAG tool of this name over the source."""
        self.made("POST", "retrieval-tools/", {"name": name, "slug": name, "variant": {"sources": [source]}})
        self.made("POST", f"retrieval-tools/{name}/variants/1/publish")
        variant = {"retrieval_tool": name, "prompt": "rag-answer"}
        self.made("POST", "rag-tools/", {"name": name, "slug": name, "variant": variant})
        self.made("POST", f"rag-tools/{name}/variants/1/publish")

    def put(self, source: str, external_id: str, text: str, **headers: str) -> Any:
        path = f"knowledge-sources/{source}/documents/by-external-id/{external_id}"
        return self.made("PUT", path, {"title": external_id, "text": text}, **headers)

    def generations(self, tool: str) -> set[str]:
        """Which generations of a document a search finds."""
        found = self.made("POST", f"retrieval-tools/{tool}/search", {"query": f"{SPOKEN} lamp rule", "top_k": 50})
        self.runs.add(found["id"])
        assert found["results"], "the search found nothing"
        return {word for one in found["results"] for word in one["text"].split() if word.startswith("generation")}

    def question(self, tool: str, key: str = "") -> "Told":
        """A streamed answer, as far as it comes."""
        told = Told()
        headers = {"Idempotency-Key": key} if key else {}
        body = {"question": f"{SPOKEN}: which lamp?", "stream": True}
        try:
            with (
                self.client() as client,
                client.stream("POST", f"/api/v1/rag-tools/{tool}/query", json=body, headers=headers) as answer,
            ):
                told.status, told.replayed = answer.status_code, "idempotency-replayed" in answer.headers
                for line in answer.iter_lines():
                    told.line(line)
        except httpx2.TransportError:
            told.broken = True
        if told.run_id:
            self.runs.add(told.run_id)
        self.answers.append(told.text)
        return told

    # --- what must hold

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until nothing is under way any more."""
        self.ready()

        def quiet() -> bool:
            try:
                return self.one(OPEN) == 0
            except psycopg.OperationalError:
                return False

        wait_for(quiet, seconds)

    def let_run(self, schedule: str) -> None:
        """Let its time come, and wait until it has run."""
        before = self.one("SELECT runs_total FROM observability_schedule WHERE name = %s", schedule)
        self.sql("UPDATE observability_schedule SET next_run_at = now() WHERE name = %s", schedule)
        wait_for(lambda: self._ran(schedule) > before, SETTLE_SECONDS)

    def _ran(self, schedule: str) -> int:
        statement = "SELECT runs_total FROM observability_schedule WHERE name = %s AND status = 'idle'"
        return int((self.sql(statement, schedule) or [(0,)])[0][0])

    def clean_up(self) -> None:
        """The nightly cleanup, a day later."""
        long_ago = time.time() - 25 * 3600
        for path in (self.platform.data_dir / "files" / "documents").glob("*/*"):
            os.utime(path, (long_ago, long_ago))
        for schedule in ("orphan-files", "orphan-tables"):
            self.let_run(schedule)

    def flush_broker(self) -> None:
        """Lose all that Valkey holds."""
        with redis.Redis.from_url(self.valkey.url) as client:
            client.flushall()

    def check(self, *, exact: bool = True) -> None:
        """All invariants, on a platform that has settled. exact: no call of a model was in flight when it was hurt;
        of one that was, the provider counted what nobody could record."""
        done = self.platform.manage("check_integrity", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["ok"]
        self._check_books(exact)
        self._check_accepted()
        self._check_secrets()

    def _check_books(self, exact: bool) -> None:
        """Tokens recorded are those that the provider counted, and never more."""
        self.provider.until_idle()
        counted = [sum(call.counted[way] for call in self.provider.calls) for way in (0, 1)]
        statement = "SELECT sum(input_tokens), sum(output_tokens) FROM observability_usagerecord"
        recorded = self.sql(f"{statement} WHERE provider_slug = 'openai' AND NOT estimated")[0]
        books = [int(one or 0) for one in recorded]
        assert books == counted if exact else all(map(le, books, counted)), (books, counted)

    def _check_accepted(self) -> None:
        """What was answered with success is there."""
        for table, ids in (("knowledge_document", self.documents), ("observability_run", self.runs)):
            found = {str(pk) for (pk,) in self.sql(f"SELECT id FROM {table} WHERE id = ANY(%s::uuid[])", list(ids))}
            assert found == ids

    def _check_secrets(self) -> None:
        """No secret stands in logs, answers or clear columns; logs hold no text of people either."""
        logs = [*self.platform.data_dir.glob("logs/*"), self.platform.output]
        told = "\n".join(path.read_text(errors="replace") for path in logs)
        secret = self.key.rpartition("_")[2]
        for word in (PROVIDER_KEY, secret, SPOKEN, WRITTEN, "a password of the rig"):
            assert word not in told, f"{word} stands in a log"
        for word in (PROVIDER_KEY, secret):
            assert not any(word in answer for answer in self.answers)
            assert self._tables_with(word) == []

    def _tables_with(self, word: str) -> list[str]:
        tables = [name for (name,) in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        asked = " UNION ALL ".join(
            f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\" row WHERE row::text LIKE %s)" for name in tables
        )
        return [name for (name,) in self.sql(asked, *[f"%{word}%"] * len(tables))]


class Told:
    """What a stream told: its events by name, its text, its last answer. broken: it ended without an end."""

    def __init__(self) -> None:
        self.status = 0
        self.replayed = self.broken = False
        self.run_id = self.text = self.event = ""
        self.events: list[str] = []
        self.answer: dict[str, Any] = {}

    def line(self, line: str) -> None:
        name, _, value = line.partition(": ")
        if name == "event":
            self.event = value
            self.events.append(value)
        elif name == "data":
            data = json.loads(value)
            self.run_id = data.get("run_id", self.run_id)
            self.text += data.get("text", "") if self.event == "message.delta" else ""
            self.answer = data.get("answer") or self.answer


@contextmanager
def rig(
    folder: Path, *, servers: tuple[EmbeddedPostgres, EmbeddedValkey] | None = None, **variables: str
) -> Iterator[Rig]:
    """A rig whose platform runs and has settled; it is ended with the block. servers: those that the variables name."""
    with ScriptedProvider() as provider:
        made = Rig(folder, provider, **variables)
        if servers is not None:
            made.postgres, made.valkey = servers
        try:
            made.start()
            made.settle()
            yield made
        finally:
            if made.platform.process is not None and not made.platform.ended():
                made.platform.terminate()
