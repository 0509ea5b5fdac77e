"""An Ollama on this machine, offered with one click: a provider, its models, and drafts of tools that could use one.

Where it is looked for stands in OLLAMA_HOST, which also allows that address, and no other. It is looked for when the
platform starts and when an admin asks, never while a page is drawn: what was found is kept in Valkey for a day.
"""

import json
import logging
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import transaction
from django.utils.text import slugify
from redis.exceptions import RedisError

from accounts.models import Workspace
from core.access import Permission, Principal
from core.exceptions import Conflict
from core.valkey import sync_client
from llm.choices import ModelKind
from llm.drafting import ToolDraft, drafts_create
from llm.models import Model, Provider
from llm.offering import OfferedModel, facts_of, with_what_is_known
from llm.services import model_create, provider_create
from plugins.contracts import ListedModel, ProviderFailure

logger = logging.getLogger(__name__)

TYPE = "ollama"
KEY = "magnet:ollama"
KEPT_SECONDS = 24 * 3600
HINT = "Start it (`ollama serve`) and pull a model, or set OLLAMA_HOST to where it listens."


@dataclass(frozen=True)
class Connected:
    """What one click made, or found from the click before. models: all of the provider that Ollama has."""

    provider: Provider
    models: tuple[Model, ...]
    drafts: tuple[ToolDraft, ...]

    @property
    def model_slugs(self) -> list[str]:
        return [one.slug for one in self.models]


def address() -> str:
    """The base URL by which its models are called."""
    return f"{settings.OLLAMA_URL}/v1"


def is_connected(workspace_id: uuid.UUID) -> bool:
    return _provider(workspace_id) is not None


def offered_to(principal: Principal) -> tuple[str, ...]:
    """Names of the models of the Ollama that was found, for who may connect it and has not; else empty."""
    if not settings.OLLAMA_URL or not principal.allows(Permission.ADMINISTER) or is_connected(principal.workspace_id):
        return ()
    return remembered()


def remembered() -> tuple[str, ...]:
    """Names of the models that were there the last time; empty when none were, or nobody looked."""
    with suppress(RedisError, ValueError):
        kept = sync_client().get(KEY)
        found = json.loads(kept) if kept else {}
        if found.get("url") == settings.OLLAMA_URL:
            return tuple(found.get("models", ()))
    return ()


def ollama_look(*, principal: Principal) -> tuple[ListedModel, ...]:
    """Ask whether an Ollama answers, and remember it. Raises Conflict where none does, saying what to do."""
    principal.require(Permission.ADMINISTER)
    return _look()


def ollama_offered(*, principal: Principal) -> tuple[OfferedModel, ...]:
    """The same with all that is known of each model."""
    found = ollama_look(principal=principal)
    provider = _provider(principal.workspace_id) or Provider(workspace_id=principal.workspace_id, type=TYPE)
    return with_what_is_known(found, provider)


def look_at_start() -> None:
    """A seed: whether one answers, is remembered. That none does is no trouble."""
    if settings.OLLAMA_URL:
        with suppress(Conflict):
            _look()


def ollama_connect(*, principal: Principal) -> Connected:
    """A provider for the Ollama of this machine, its models, and drafts with the first chat model. Doing it again adds
    the models that were pulled meanwhile. Raises Conflict where no Ollama answers."""
    principal.require(Permission.ADMINISTER)
    return _connect(_look(), principal)


def _look() -> tuple[ListedModel, ...]:
    from llm.providers.ollama import installed

    if not settings.OLLAMA_URL:
        raise Conflict("No Ollama is looked for here.", hint="Set OLLAMA_HOST to its address, and restart.")
    try:
        found = async_to_sync(installed)(settings.OLLAMA_URL)
    except ProviderFailure as failure:
        _remember(())
        raise Conflict(f"No Ollama answers at {settings.OLLAMA_URL}: {failure.message}", hint=HINT) from None
    _remember(one.identifier for one in found)
    if not found:
        raise Conflict(f"The Ollama at {settings.OLLAMA_URL} has no model yet.", hint="Pull one: `ollama pull …`.")
    return found


def _remember(names: Iterable[str]) -> None:
    with suppress(RedisError):
        sync_client().set(KEY, json.dumps({"url": settings.OLLAMA_URL, "models": list(names)}), ex=KEPT_SECONDS)


@transaction.atomic
def _connect(found: tuple[ListedModel, ...], principal: Principal) -> Connected:
    Workspace.objects.select_for_update().get(pk=principal.workspace_id)  # two clicks at once make one provider
    provider = _provider(principal.workspace_id)
    if provider is None:
        values = {"type": TYPE, "base_url": address(), "description": "Found on this machine."}
        slug = _free_slug(TYPE, Provider, principal)
        provider = provider_create(principal=principal, values={"name": "Ollama", "slug": slug, **values})
    here = {one.identifier: one for one in Model.objects.for_workspace(provider.workspace_id).filter(provider=provider)}
    usable = [one for one in found if one.kind in ModelKind.values]
    models = tuple(here.get(one.identifier) or _model(provider, one, principal) for one in usable)
    chat = next((one for one in models if one.kind == ModelKind.CHAT and one.is_active), None)
    drafts = drafts_create(chat, principal=principal) if chat is not None and provider.is_active else ()
    return Connected(provider, models, drafts)


def _provider(workspace_id: uuid.UUID) -> Provider | None:
    rows = Provider.objects.for_workspace(workspace_id).filter(type=TYPE, base_url__in=["", address()])
    found: Provider | None = rows.order_by("created_at").first()
    return found


def _model(provider: Provider, listed: ListedModel, principal: Principal) -> Model:
    name = listed.identifier.removesuffix(":latest")
    values = {"name": name[:100], "slug": _free_slug(name, Model, principal), "provider": provider}
    facts = facts_of(listed, TYPE)
    return model_create(
        principal=principal, values={**facts, **values, "kind": listed.kind, "identifier": listed.identifier}
    )


def _free_slug(name: str, kind: type[Provider] | type[Model], principal: Principal) -> str:
    """The name as a slug, with a number where another row has it."""
    base = slugify(name.replace(".", "-").replace("/", "-").replace(":", "-"))[:80] or TYPE
    rows = kind.objects.for_workspace(principal.workspace_id).filter(slug__startswith=base)
    taken = set(rows.values_list("slug", flat=True))
    return next(slug for n in range(1, len(taken) + 2) if (slug := base if n == 1 else f"{base}-{n}") not in taken)
