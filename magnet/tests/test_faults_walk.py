"""Every fault point, on the real platform: the process that comes to it ends hard, and then all invariants hold.

A point has its journey here: what a caller does so that a process comes to it. After each, the platform starts that
process again and settles by itself; nobody helps.
"""

import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

from core.faults import POINTS
from magnet.tests.platform import wait_for
from magnet.tests.rig import Rig, rig, text_of

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(240)]

Journey = Callable[[Rig, str], None]
TOOL = "walk"


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One platform for all points, with a source, its document and tools."""
    with rig(tmp_path_factory.mktemp("walk")) as made:
        source = made.source(TOOL)
        made.tools(TOOL, source)
        made.put(source, "rules", text_of(0))
        made.settle()
        made.home, made.generation = source, 0  # type: ignore[attr-defined]
        yield made


# --- journeys


def upload(walk: Rig, point: str) -> None:
    """The same upload under one key, until it is answered: one document."""
    source = walk.source(point)
    body = {"title": "Rules", "text": text_of(1), "external_id": "rules"}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    walk.arm(point)
    answer = walk.ask("POST", f"knowledge-sources/{source}/documents/", json=body, headers=headers)
    assert answer is None or answer.status_code == 202
    walk.struck()
    walk.ready()

    again = walk.made("POST", f"knowledge-sources/{source}/documents/", body, **headers)

    walk.settle()
    assert walk.get(f"documents/{again['document_id']}/")["status"] == "ready"
    assert walk.one("SELECT count(*) FROM knowledge_document d JOIN knowledge_knowledgesource s ON s.id = d.source_id"
                    " WHERE s.slug = %s", source) == 1  # fmt: skip


def delete_document(walk: Rig, point: str) -> None:
    """A document whose row is gone and whose file is not: the cleanup finds it."""
    source = walk.source(point)
    document = walk.put(source, "rules", text_of(1))["document_id"]
    walk.settle()
    walk.arm(point)
    walk.ask("DELETE", f"documents/{document}/")
    walk.struck()
    walk.ready()

    walk.documents.discard(document)
    assert walk.ask("GET", f"documents/{document}/").status_code == 404


def delete_source(walk: Rig, point: str) -> None:
    source = walk.source(point)
    document = walk.put(source, "rules", text_of(1))["document_id"]
    walk.settle()
    detail = walk.ask("GET", f"knowledge-sources/{source}/")
    walk.arm(point)
    walk.ask("DELETE", f"knowledge-sources/{source}/", headers={"If-Match": detail.headers["ETag"]})
    walk.struck()
    walk.ready()

    walk.documents.discard(document)
    assert walk.ask("GET", f"knowledge-sources/{source}/").status_code == 404


def replace(walk: Rig, point: str, sections: int = 12) -> None:
    """A new generation of a document that is searched all the while: one or the other, never a mix or nothing."""
    walk.generation += 1  # type: ignore[attr-defined]
    old, new = f"generation{walk.generation - 1}", f"generation{walk.generation}"  # type: ignore[attr-defined]
    walk.arm(point)
    document = walk.put(walk.home, "rules", text_of(walk.generation, sections))["document_id"]  # type: ignore[attr-defined]
    seen, over = [], threading.Event()

    def search() -> None:
        while not over.wait(0.2):
            seen.append(walk.generations(TOOL))

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        walk.struck()
        walk.settle()
    finally:
        over.set()
        searcher.join()

    assert seen
    assert all(found in ({old}, {new}) for found in seen), seen
    assert walk.generations(TOOL) == {new}
    assert walk.get(f"documents/{document}/")["status"] == "ready"


def replace_large(walk: Rig, point: str) -> None:
    """More than one batch: what was embedded before the crash and staged is not embedded again."""
    before = len(walk.provider.calls_of("embed"))

    replace(walk, point, sections=560)

    sent = [text for call in walk.provider.calls_of("embed")[before:] for text in call.body["input"]]
    passages = [text for text in sent if f"generation{walk.generation} " in text]  # type: ignore[attr-defined]
    if point == "ingest.batch_staged":
        assert len(passages) == len(set(passages))
    assert len(passages) <= 2 * len(set(passages))


def build_index(walk: Rig, point: str) -> None:
    """A source that outgrows exact search gets an approximate index."""
    source = walk.source(point)
    walk.arm(point)
    walk.put(source, "rules", text_of(1, 30))
    walk.struck()
    walk.settle()

    statement = "SELECT has_ann FROM knowledge_embeddingindex i JOIN knowledge_knowledgesource s ON s.id = i.source_id"
    assert walk.one(f"{statement} WHERE s.slug = %s", source) is True


def reweigh(walk: Rig, point: str) -> None:
    """A source whose passages grow longer is weighed anew."""
    source = walk.source(point)
    walk.put(source, "short", "Short.")
    walk.settle()
    walk.arm(point)
    walk.put(source, "rules", text_of(1))
    walk.struck()
    walk.settle()

    statement = "SELECT i.term_count::float / i.chunk_count / i.average_terms FROM knowledge_embeddingindex i"
    statement += " JOIN knowledge_knowledgesource s ON s.id = i.source_id WHERE s.slug = %s"
    assert 0.8 < walk.one(statement, source) < 1.2


def question(walk: Rig, point: str) -> None:
    """The same question under one key: the run that broke off is kept as what it is, and one is completed."""
    key = uuid.uuid4().hex
    walk.arm(f"{point}:10" if point == "run.mid_stream" else point)
    broken = walk.question(TOOL, key)
    assert "run.completed" not in broken.events
    walk.struck()
    walk.settle()

    first = walk.question(TOOL, key)
    again = walk.question(TOOL, key)

    assert (first.answer["status"], again.answer["status"]) == ("completed", "completed")
    assert first.run_id == again.run_id
    assert again.replayed
    assert first.replayed is (point == "run.closed")
    if broken.run_id and point != "run.closed":
        left = walk.get(f"runs/{broken.run_id}/")
        assert (left["status"], left["finish_reason"]) == ("incomplete", "process_lost")
        if point == "run.mid_stream":  # what was said in the last tenth of a second is lost with its process
            assert left["content"].startswith("word ")


def publish(walk: Rig, point: str) -> None:
    """The variant that was served is served until another is."""
    number = walk.made("POST", f"retrieval-tools/{TOOL}/variants/", {"top_k": 7})["number"]
    walk.arm(point)
    assert walk.ask("POST", f"retrieval-tools/{TOOL}/variants/{number}/publish") is None
    walk.struck()
    walk.ready()
    active = walk.get(f"retrieval-tools/{TOOL}/")["active_variant"]["number"]
    assert active == number - 1

    walk.made("POST", f"retrieval-tools/{TOOL}/variants/{number}/publish")

    assert walk.get(f"retrieval-tools/{TOOL}/")["active_variant"]["number"] == number


def rotate(walk: Rig, point: str) -> None:
    """A rotation that was not answered has not happened: the old key lives, and there is no key that nobody knows."""
    issued = walk.made("POST", "api-keys/", {"name": "to rotate"})
    count = walk.one("SELECT count(*) FROM accounts_apikey")
    walk.arm(point)
    assert walk.ask("POST", f"api-keys/{issued['id']}/rotate", json={"overlap_seconds": 0}) is None
    walk.struck()
    walk.ready()

    assert walk.one("SELECT count(*) FROM accounts_apikey") == count
    headers = {"Authorization": f"Bearer {issued['key']}"}
    assert walk.ask("GET", "knowledge-sources/", headers=headers).status_code == 200


def issue_once(walk: Rig, point: str) -> None:
    """A request with a key that died in the middle is made once by its repetition, at once."""
    name, headers = uuid.uuid4().hex, {"Idempotency-Key": uuid.uuid4().hex}
    walk.arm(point)
    assert walk.ask("POST", "api-keys/", json={"name": name}, headers=headers) is None
    walk.struck()
    walk.ready()

    first = walk.made("POST", "api-keys/", {"name": name}, **headers)
    again = walk.made("POST", "api-keys/", {"name": name}, **headers)

    assert first == again
    assert walk.one("SELECT count(*) FROM accounts_apikey WHERE name = %s", name) == 1


def sweep_job(walk: Rig, point: str) -> None:
    """The process that takes a job from a dead one dies over it, too."""
    source = walk.source(point)
    walk.arm("job.leased")
    document = walk.put(source, "rules", text_of(1))["document_id"]
    walk.struck()
    walk.arm(point)
    walk.struck()
    walk.settle()

    assert walk.get(f"documents/{document}/")["status"] == "ready"
    assert walk.sql("SELECT attempts, lost_leases FROM observability_job WHERE subject_id = %s", document) == [(1, 1)]


def sweep_run(walk: Rig, point: str) -> None:
    walk.arm("run.mid_stream:5")
    broken = walk.question(TOOL)
    walk.struck()
    walk.arm(point)
    walk.struck()
    walk.settle()

    assert walk.get(f"runs/{broken.run_id}/")["finish_reason"] == "process_lost"


def schedule(walk: Rig, point: str) -> None:
    """Recurring work whose process died runs again, and its end stands on its row."""
    name = "expired-sessions"
    before = walk.one("SELECT runs_total FROM observability_schedule WHERE name = %s", name)
    walk.arm(point)
    walk.sql("UPDATE observability_schedule SET next_run_at = now() WHERE name = %s", name)
    walk.struck()
    walk.settle()

    ran = "SELECT runs_total, outcome FROM observability_schedule WHERE name = %s"
    wait_for(lambda: walk.sql(ran, name) == [(before + 1, "succeeded")], 60)


# Worker and web take turns, so that the one that died is steady again when its turn comes.
JOURNEYS: dict[str, Journey] = {
    "upload.file_stored": upload,
    "job.leased": replace,
    "upload.row_saved": upload,
    "ingest.parsed": replace,
    "queue.before_publish": upload,
    "ingest.batch_embedded": replace_large,
    "queue.published": upload,
    "ingest.batch_staged": replace_large,
    "file.before_removal": delete_document,
    "ingest.before_swap": replace,
    "source.before_tables_dropped": delete_source,
    "ingest.in_swap": replace,
    "run.created": question,
    "ingest.after_swap": replace,
    "run.flushed": question,
    "ingest.before_done": replace,
    "run.mid_stream": question,
    "job.done": replace,
    "run.before_close": question,
    "index.built": build_index,
    "run.usage_stored": question,
    "epoch.batch_weighed": reweigh,
    "run.closed": question,
    "sweep.requeued": sweep_job,
    "variant.in_switch": publish,
    "schedule.claimed": schedule,
    "key.successor_issued": rotate,
    "sweep.run_closed": sweep_run,
    "answer.claimed": issue_once,
    "schedule.worked": schedule,
    "answer.stored": issue_once,
}


def test_every_point_has_its_journey() -> None:
    assert set(JOURNEYS) == POINTS


@pytest.mark.parametrize("point", JOURNEYS)
def test_after_a_hard_end_at_this_point_everything_holds(walk: Rig, point: str) -> None:
    JOURNEYS[point](walk, point)

    walk.settle()
    if point in {"upload.file_stored", "upload.row_saved", "file.before_removal", "source.before_tables_dropped"}:
        walk.clean_up()
    walk.check()
