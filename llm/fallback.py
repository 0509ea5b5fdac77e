"""Which models are asked instead of one that fails, in their order."""

import logging
from collections.abc import AsyncGenerator

from django.db import DatabaseError

from core.database import in_database
from llm.choices import ModelKind
from llm.models import LONGEST_CHAIN, Model
from llm.selectors import model_by_id
from plugins.contracts import ProviderFailure

logger = logging.getLogger(__name__)

OWN_FAULTS = frozenset({"bad_request", "unsupported"})
"""Kinds of failures that another model would answer with too: the request is wrong, not the vendor."""


def passes_on(failure: ProviderFailure) -> bool:
    """Whether another model is asked after this failure."""
    return failure.kind not in OWN_FAULTS


async def candidates(model: Model, *, alone: bool = False) -> AsyncGenerator[Model]:
    """The model, then its fallback, then that one's. What is switched off is passed over. alone: the model only.

    The next one is read when it is needed, so a call that works costs nothing. Vectors of another space are never
    given instead: such a fallback, which the form refuses, is left out here too.
    """
    yield model
    seen, last = {model.pk}, model
    while not alone and last.fallback_id is not None and last.fallback_id not in seen and len(seen) < LONGEST_CHAIN:
        try:
            last = await in_database(_fallback, last)
        except (DatabaseError, Model.DoesNotExist):
            logger.warning("llm.fallback_unknown", extra={"model": last.slug})
            return
        seen.add(last.pk)
        if _answers_for(last, model):
            yield last


def _fallback(model: Model) -> Model:
    """The row with its provider, unless it came along."""
    if Model.fallback.is_cached(model) and model.fallback is not None:
        return model.fallback
    assert model.fallback_id is not None
    return model_by_id(model.fallback_id)


def _answers_for(other: Model, model: Model) -> bool:
    usable = other.is_active and other.provider.is_active and other.kind == model.kind
    return usable and (model.kind != ModelKind.EMBEDDING or model.shares_space(other))
