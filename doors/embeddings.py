"""Embeddings of /v1: vectors of texts by a raw embedding model, with a trace and usage of their own."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.access import Permission, Principal
from core.database import in_database
from core.exceptions import FieldError, InvalidInput
from doors.errors import UnknownModel, refused
from doors.requests import MAX_CHARS, MAX_INPUTS, EmbeddingsRequest
from doors.targets import Kind, find_target
from llm import client
from llm.choices import ModelKind
from llm.models import Model
from observability.choices import RunKind
from observability.tracing import recording, start_trace
from plugins.contracts import EmbeddingPurpose, Vectors


@dataclass(frozen=True)
class Embedded:
    """Vectors in the caller's order, and what they cost."""

    vectors: Vectors
    input_tokens: int


def embedding_model(principal: Principal, form: EmbeddingsRequest) -> Model:
    """The raw model that the request names. Raises UnknownModel, Conflict for one of another kind."""
    principal.require(Permission.MODELS)
    target = find_target(principal, form.model)
    if target.kind is not Kind.MODEL:
        raise UnknownModel(form.model)
    model: Model = target.row
    client.require_usable(model, ModelKind.EMBEDDING)
    if model.dimensions:
        _require_size(model, model.dimensions, form.dimensions)
    return model


def _require_size(model: Model, size: int, asked: int | None) -> None:
    """Raise InvalidInput for vectors of a size that this model does not give."""
    if asked is not None and asked != size and not (model.shortens and asked < size):
        raise refused("dimensions", f"The vectors of the model '{model.slug}' have {size} dimensions.")


def texts_of(form: EmbeddingsRequest) -> list[str]:
    """The texts to embed. Raises InvalidInput for tokens, empty texts and too many of them."""
    given = [form.input] if isinstance(form.input, str) else form.input
    if not given or len(given) > MAX_INPUTS:
        raise _wrong(f"From 1 to {MAX_INPUTS:,} texts are embedded in a request.")
    if any(not isinstance(one, str) for one in given):
        raise refused("input", "Tokens are not taken, as each model has its own: send texts.")
    if any(not one or len(one) > MAX_CHARS for one in given):
        raise _wrong(f"A text has from 1 to {MAX_CHARS:,} characters.")
    return given


def _wrong(detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[FieldError("/input", "invalid_value", detail)])


async def embed(principal: Principal, model: Model, texts: Sequence[str], form: EmbeddingsRequest) -> Embedded:
    """Embed the texts and store trace and usage, also of a call that failed. Raises what the model raises."""
    name = f"embeddings {model.slug}"
    recorder = await in_database(lambda: start_trace(name, RunKind.MODEL, principal, target=model.slug))
    purpose = EmbeddingPurpose(form.input_type or EmbeddingPurpose.PASSAGE)
    failed = True
    try:
        with recording(recorder):
            vectors = await client.embed(model, texts, purpose=purpose)
        failed = False
    finally:
        await in_database(lambda: recorder.save(failed=failed))
    _require_size(model, vectors.shape[1], form.dimensions)  # known by now, where the row names no size
    return Embedded(_shortened(vectors, form.dimensions), sum(one.input_tokens for one in recorder.usage))


def _shortened(vectors: Vectors, dimensions: int | None) -> Vectors:
    """The first dimensions at unit length: what models that can shorten their vectors are trained for (Matryoshka
    representation learning, Kusupati et al., 2022)."""
    if dimensions is None or vectors.shape[1] == dimensions:
        return vectors
    short = vectors[:, :dimensions]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    scaled: Vectors = (short / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return scaled


def embedding_list(form: EmbeddingsRequest, embedded: Embedded) -> dict[str, Any]:
    """The answer. base64 holds little-endian float32, as the vendor packs them."""
    packed = form.encoding_format == "base64"
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist(),
        }
        for index, row in enumerate(embedded.vectors)
    ]
    spent = {"prompt_tokens": embedded.input_tokens, "total_tokens": embedded.input_tokens}
    return {"object": "list", "model": form.model, "data": rows, "usage": spent}
