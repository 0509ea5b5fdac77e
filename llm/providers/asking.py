"""Asking a provider which models it offers: it shows whether address and credentials are right, and costs nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import async_to_sync

from core.access import Permission, Principal
from core.exceptions import UpstreamError
from llm.exceptions import in_the_vendors_words
from llm.models import Provider
from llm.providers.registry import connect_row, load_sdk
from plugins.contracts import ListedModel, ProviderFailure
from plugins.contracts import Provider as Connection

SECONDS = 20.0


def listed_by_vendor(row: Provider, *, principal: Principal) -> tuple[ListedModel, ...]:
    """The vendor's list, for who may choose from it. Raises UpstreamError as `available_models` does."""
    principal.require(Permission.MANAGE)
    return async_to_sync(available_models)(row)


async def available_models(row: Provider) -> tuple[ListedModel, ...]:
    """The vendor's list. Raises UpstreamError with what the vendor says itself, credentials taken out: it is for those
    who configure the provider, and stands in no log and no trace."""
    try:
        async with asyncio.timeout(SECONDS), _connected(row) as provider:
            return await provider.list_models()
    except TimeoutError:
        raise UpstreamError("The model provider did not answer in time.") from None
    except ProviderFailure as failure:
        raise UpstreamError(in_the_vendors_words(failure), hint=f"Provider '{row.slug}'.") from None


@asynccontextmanager
async def _connected(row: Provider) -> AsyncIterator[Connection]:
    await load_sdk(row.type)
    provider = connect_row(row, SECONDS)
    try:
        yield provider
    finally:
        await provider.close()
