"""What a provider offers, with all that is known of each model: what fills the picker of a new model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.access import Principal
from llm.catalogue import CAPABILITIES, known_facts, type_facts
from llm.choices import ModelKind
from llm.models import Model, Provider
from llm.providers.asking import listed_by_vendor
from plugins.contracts import ListedModel


@dataclass(frozen=True)
class OfferedModel:
    """A model that a vendor lists. What nobody knows is None, or no key of `capabilities`.

    kind: empty where it is none of ours. model: the slug of the model here that is this one already, else empty.
    """

    identifier: str
    kind: str
    title: str
    max_input_tokens: int | None
    dimensions: int | None
    capabilities: Mapping[str, bool]
    model: str


def offered_models(provider: Provider, *, principal: Principal) -> tuple[OfferedModel, ...]:
    """The vendor's list, in its order. Raises UpstreamError with what the vendor says itself."""
    return with_what_is_known(listed_by_vendor(provider, principal=principal), provider)


def with_what_is_known(listed: Sequence[ListedModel], provider: Provider) -> tuple[OfferedModel, ...]:
    """All that is known of the models that this provider, which may not be saved yet, lists."""
    rows = Model.objects.for_workspace(provider.workspace_id).filter(provider=provider)
    here = dict(rows.order_by("-created_at").values_list("identifier", "slug"))
    return tuple(_offered(one, provider.type, here.get(one.identifier, "")) for one in listed)


def facts_of(listed: ListedModel, provider_type: str) -> dict[str, Any]:
    """Columns of a model: what its vendor says of it goes before the catalogue, and that before its provider's type."""
    if listed.kind not in ModelKind.values:
        return {}
    kind = ModelKind(listed.kind)
    said = {name: able for name, able in listed.capabilities.items() if name in CAPABILITIES}
    limit = {"max_input_tokens": listed.max_input_tokens} if listed.max_input_tokens else {}
    return {**type_facts(provider_type, kind), **known_facts(listed.identifier, kind), **said, **limit}


def _offered(listed: ListedModel, provider_type: str, slug: str) -> OfferedModel:
    facts = facts_of(listed, provider_type)
    return OfferedModel(
        identifier=listed.identifier,
        kind=listed.kind,
        title=listed.title,
        max_input_tokens=facts.get("max_input_tokens"),
        dimensions=facts.get("dimensions"),
        capabilities={name: facts[name] for name in CAPABILITIES if name in facts},
        model=slug,
    )
