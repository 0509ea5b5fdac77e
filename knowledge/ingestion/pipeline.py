"""A document becomes passages: parse, cut, embed what has no vector yet. Writes staged vectors only.

The text that is embedded is the passage under its title and headings, because a passage alone often does not say what
it is about. The hash of that text is the key of its vector.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.faults import fault
from knowledge.ingestion.sandbox import default_process
from knowledge.models import Document, EmbeddingIndex, StagedVector
from knowledge.schemas import Chunking
from knowledge.storage import path_of
from llm import client
from llm.choices import ProviderType
from llm.models import Model
from observability.exceptions import BudgetExceeded, BudgetUncountable
from observability.leases import PermanentFailure, TransientFailure
from observability.tracing import store_usage
from plugins.contracts import ChunkDraft, ChunkedDocument, EmbeddingPurpose, ParsedDocument, ParseError, Vectors
from plugins.registry import PLUGINS

PIPELINE_VERSION = 1
# Texts that are embedded and staged at once: what a killed worker loses. Remote models take them in parallel requests.
LOCAL_BATCH, REMOTE_BATCH = 64, 512
CRASHES = frozenset({"parser_crashed", "timeout", "out_of_memory"})


@dataclass(frozen=True)
class Passage:
    """A passage with the text that stands for it in the vector space, and that text's hash."""

    draft: ChunkDraft
    embedded_text: str
    text_hash: str


@dataclass(frozen=True)
class Prepared:
    """What a document became: its text and its passages."""

    text: str
    passages: tuple[Passage, ...]


def fingerprint(model: Model, chunking: Chunking) -> str:
    """What an index depends on: model, dimensions, chunking, text template and pipeline version."""
    chunker = PLUGINS.chunkers.get(chunking.chunker)
    parts = (
        model.provider.type, model.provider.base_url, model.identifier, str(model.dimensions), str(model.shortens),
        chunking.model_dump_json(), f"chunker={chunker.version} template=1 pipeline={PIPELINE_VERSION}",
    )  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def parse(document: Document) -> ParsedDocument:
    """Read the file in the parser child. A crash may be tried again; anything else is the document's own fault."""
    try:
        return default_process().parse(path_of(document.storage_key), document.media_type)
    except ParseError as error:
        failure = TransientFailure if error.code in CRASHES else PermanentFailure
        raise failure(error.code, error.reason) from None
    except OSError:
        raise TransientFailure("storage_unavailable", "The stored file cannot be read.") from None


def prepare(document: Document, parsed: ParsedDocument, model: Model, chunking: Chunking) -> Prepared:
    """Cut the document along its structure. Raises PermanentFailure when there is no text."""
    chunker = PLUGINS.chunkers.get(chunking.chunker)
    cut: ChunkedDocument = chunker.chunk(parsed, chunking.profile(), client.count_tokens(model))
    if not cut.chunks:
        raise PermanentFailure("no_text", "The file holds no text.")
    return Prepared(cut.text, tuple(_passage(document.title, draft) for draft in cut.chunks))


def _passage(title: str, draft: ChunkDraft) -> Passage:
    text = embedded_text(title, draft.heading_path, draft.text)
    return Passage(draft, text, hashlib.sha256(text.encode()).hexdigest())


def embedded_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """The passage under its title and headings: what is embedded and whose words are counted."""
    heading = " › ".join(dict.fromkeys(part for part in (title, *heading_path) if part))
    return f"{heading}\n{text}" if heading else text


def embed_missing(
    document: Document,
    index: EmbeddingIndex,
    passages: Sequence[Passage],
    known: set[str],
    after_batch: Callable[[int], None],
) -> None:
    """Embed the passages whose hash has no vector, a batch at a time, and stage each batch at once."""
    missing = {one.text_hash: one.embedded_text for one in passages if one.text_hash not in known}
    done = len({one.text_hash for one in passages}) - len(missing)
    size = LOCAL_BATCH if index.model.provider.type == ProviderType.LOCAL else REMOTE_BATCH
    items = list(missing.items())
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        vectors = _embedded(index.model, [text for _, text in batch])
        store_usage()
        fault("ingest.batch_embedded")
        stage(document, index, [key for key, _ in batch], vectors)
        done += len(batch)
        after_batch(done)
        fault("ingest.batch_staged")


def _embedded(model: Model, texts: Sequence[str]) -> Vectors:
    """A budget that is used up ends the job, with its reason: what is staged stays, and a retry embeds the rest."""
    try:
        return client.embed_sync(model, texts, purpose=EmbeddingPurpose.PASSAGE)
    except BudgetExceeded as exceeded:
        failure = TransientFailure if exceeded.busy else PermanentFailure
        raise failure(exceeded.code, str(exceeded)) from None
    except BudgetUncountable as unknown:
        raise PermanentFailure(unknown.code, str(unknown)) from None


def stage(document: Document, index: EmbeddingIndex, hashes: Sequence[str], vectors: Vectors) -> None:
    """Keep vectors until the document is swapped."""
    rows = [
        StagedVector(document=document, index=index, text_hash=key, vector=vector.astype("<f4").tobytes())
        for key, vector in zip(hashes, vectors, strict=True)
    ]
    StagedVector.objects.bulk_create(rows, ignore_conflicts=True)


def staged(document: Document, index: EmbeddingIndex) -> dict[str, Vectors]:
    """The vectors that wait for this document, by hash."""
    rows = StagedVector.objects.filter(document=document, index=index).values_list("text_hash", "vector")
    return {key: np.frombuffer(bytes(vector), dtype="<f4") for key, vector in rows}
