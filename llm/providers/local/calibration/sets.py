"""Passages and labelled questions: the shipped set, which Magnet calibrates on, and sets in BEIR form to judge on.

The BEIR form (Thakur et al., 2021) is `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.sentences import split_sentences
from llm.providers.local import embedding

SHIPPED = Path(__file__).parent / "set.json"
PASSAGE_TOKENS = 190  # about what the default chunking makes


@dataclass(frozen=True)
class Passage:
    """sources: what the gold of a question may name. document: what they belong to."""

    document: str
    sources: frozenset[str]
    title: str
    heading_path: tuple[str, ...]
    text: str

    @property
    def full_text(self) -> str:
        """With its headings, as it is indexed."""
        headings = " › ".join(dict.fromkeys(part for part in (self.title, *self.heading_path) if part))
        return f"{headings}\n{self.text}".strip()


@dataclass(frozen=True)
class LabelledQuestion:
    """gold: the sources that answer it; none when no passage does."""

    text: str
    gold: frozenset[str]


@dataclass(frozen=True)
class QuestionSet:
    passages: tuple[Passage, ...]
    questions: tuple[LabelledQuestion, ...]


def shipped(*, joined: bool = False) -> QuestionSet:
    """The shipped set, its sections as passages, or joined to passages as long as those of larger documents."""
    stored = json.loads(SHIPPED.read_text(encoding="utf-8"))
    passages: list[Passage] = []
    for document in stored["documents"]:
        sections = [
            Passage(
                document["id"],
                frozenset({section["id"]}),
                document["title"],
                (section["heading"],),
                section["text"],
            )
            for section in document["sections"]
        ]
        passages.extend(_joined(sections) if joined else sections)
    questions = (LabelledQuestion(one["question"], frozenset(one["gold"])) for one in stored["questions"])
    return QuestionSet(tuple(passages), tuple(questions))


def beir(folder: Path, split: str = "test", limit: int | None = None) -> QuestionSet:
    """A set in BEIR form, its documents cut into passages at sentences; the first `limit` questions by their ids.

    A question whose relevance is 0 throughout has no gold: it is near, and no document answers it.
    """
    passages = [passage for row in _rows(folder / "corpus.jsonl") for passage in _cut(row)]
    gold: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        gold[query].update({document} if int(score) > 0 else ())
    texts = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    questions = (LabelledQuestion(texts[query], frozenset(gold[query])) for query in sorted(gold)[:limit])
    return QuestionSet(tuple(passages), tuple(questions))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _cut(row: dict[str, str]) -> Iterator[Passage]:
    text = row["text"]
    start, end, used = 0, 0, 0
    for left, right in split_sentences(text):
        tokens = embedding.count_tokens(text[left:right])
        if used and used + tokens > PASSAGE_TOKENS:
            yield Passage(row["_id"], frozenset({row["_id"]}), row.get("title", ""), (), text[start:end])
            start, used = left, 0
        end = right
        used += tokens
    if used:
        yield Passage(row["_id"], frozenset({row["_id"]}), row.get("title", ""), (), text[start:end])


def _joined(sections: list[Passage]) -> Iterator[Passage]:
    """Neighbouring sections as one passage under the document's title, their headings as lines of it."""
    held: list[Passage] = []
    used = 0
    for section in sections:
        tokens = embedding.count_tokens(section.text)
        if held and used + tokens > PASSAGE_TOKENS:
            yield _as_one(held)
            held, used = [], 0
        held.append(section)
        used += tokens
    if held:
        yield _as_one(held)


def _as_one(sections: list[Passage]) -> Passage:
    text = "\n\n".join(f"{section.heading_path[-1]}\n\n{section.text}" for section in sections)
    sources = frozenset[str]().union(*(section.sources for section in sections))
    return Passage(sections[0].document, sources, sections[0].title, (), text)
