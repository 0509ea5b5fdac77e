"""One try at a model: its breaker is asked and its minute reserved before, and both are told how it went after."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from django.db import DatabaseError

from core.database import in_database
from llm import breaker, limits
from llm.limits import Need
from llm.models import Model
from llm.providers.connections import connection
from llm.retries import Deadline
from llm.services import provider_key_accepted, provider_key_refused
from plugins.contracts import Provider, ProviderFailure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """Under which a call may be sent.

    patience: the longest wait for room in the model's minute, in seconds. forced: sent although the breaker is open.
    """

    deadline: Deadline
    patience: float = limits.LONGEST_WAIT_SECONDS
    forced: bool = False


@dataclass
class Attempt:
    """A call while it lasts. tokens: what it took so far. failure: it broke off although something came."""

    provider: Provider
    tokens: int = 0
    failure: ProviderFailure | None = None


@asynccontextmanager
async def attempt(model: Model, need: Need, terms: Terms) -> AsyncIterator[Attempt]:
    """A connection for one call. Raises NotAsked when it is not sent."""
    admission = breaker.Admission(model, 1) if terms.forced else await breaker.admit(model)
    reservation = await limits.reserve(model, need, terms.deadline, terms.patience)
    made: Attempt | None = None
    try:
        async with connection(model) as provider:
            made = Attempt(provider)
            yield made
    except ProviderFailure as failure:
        await _failed(model, failure)
        raise
    else:
        await (_failed(model, made.failure) if made.failure else _worked(admission))
    finally:
        await limits.settle(reservation, made.tokens if made is not None else 0)


async def _failed(model: Model, failure: ProviderFailure) -> None:
    await breaker.failed(model, failure)
    if failure.kind == "unauthorized" and not model.provider.key_refused_at:
        await _note(model, refused=True)


async def _worked(admission: breaker.Admission) -> None:
    await breaker.worked(admission)
    if admission.model.provider.key_refused_at:
        await _note(admission.model, refused=False)


async def _note(model: Model, *, refused: bool) -> None:
    """For the admins. A row that was never saved has nothing to note it on; a database that is away stops no call."""
    if model.provider._state.adding:
        return
    try:
        await in_database(provider_key_refused if refused else provider_key_accepted, model.provider)
    except DatabaseError:
        logger.warning("llm.key_not_noted", extra={"provider": model.provider.slug})
