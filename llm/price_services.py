"""Writes of prices. Rows are added and never changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from django.db import transaction
from django.db.models import Prefetch

from core.access import Permission, Principal
from core.audit import save_new
from llm.catalogue import Catalogue, has_vendors_price, shipped_catalogue
from llm.choices import ModelKind, PriceSource
from llm.models import Model, ModelPrice

FIGURES = ("input", "cached_input", "output", "reasoning", "currency")


@transaction.atomic
def price_add(model: Model, *, principal: Principal, values: Mapping[str, Any]) -> ModelPrice:
    """A new price of a model, valid from now on unless the values say otherwise. Raises ValidationError.

    What was recorded keeps its cost.
    """
    principal.require(Permission.ADMINISTER)
    given = {name: value for name, value in values.items() if value is not None}
    return save_new(ModelPrice(workspace_id=model.workspace_id, model=model, **given))


def price_from_catalogue(model: Model) -> ModelPrice | None:
    """The price of a new model, where the catalogue knows one; none where no vendor bills it."""
    row = _known_price(model, shipped_catalogue())
    return None if row is None else save_new(row)


def _known_price(model: Model, catalogue: Catalogue) -> ModelPrice | None:
    known = catalogue.find(model.identifier, ModelKind(model.kind))
    if known is None or known.price is None or not has_vendors_price(model.provider.type):
        return None
    return ModelPrice(
        workspace_id=model.workspace_id,
        model=model,
        valid_from=catalogue.valid_from(known.price),
        source=PriceSource.CATALOGUE,
        note=catalogue.note,
        **known.price.figures(),
    )


@dataclass(frozen=True)
class Change:
    """What a refresh did to a model.

    state: added; same, as it has this price; older, as it has a newer one; kept, as somebody entered its price here.
    """

    workspace: str
    model: str
    identifier: str
    state: Literal["added", "same", "older", "kept"]

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@transaction.atomic
def prices_refresh(catalogue: Catalogue, *, dry_run: bool = False) -> list[Change]:
    """Add the catalogue's prices to the models of all workspaces that it knows. For commands: it asks for no right.

    Rows are added only; a model whose newest price was entered by a person keeps it.
    """
    prices = Prefetch("prices", ModelPrice._unscoped.order_by("-valid_from", "-id"), to_attr="newest_first")
    models = Model._unscoped.select_related("provider", "workspace").prefetch_related(prices)
    changes = []
    for model in models.order_by("workspace__slug", "slug"):
        row = _known_price(model, catalogue)
        if row is None:
            continue
        state = _state(row, model.newest_first)
        if state == "added" and not dry_run:
            save_new(row)
        changes.append(Change(model.workspace.slug, model.slug, model.identifier, state))
    return changes


def _state(row: ModelPrice, newest_first: list[ModelPrice]) -> Literal["added", "same", "older", "kept"]:
    if not newest_first:
        return "added"
    latest = newest_first[0]
    if latest.source == PriceSource.OPERATOR:
        return "kept"
    if all(getattr(latest, name) == getattr(row, name) for name in FIGURES):
        return "same"
    return "older" if latest.valid_from > row.valid_from else "added"
