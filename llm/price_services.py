"""Writes of prices. Rows are added and never changed."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.audit import save_new
from llm.catalogue import Catalogue, has_vendors_price, shipped_catalogue
from llm.choices import ModelKind, PriceSource
from llm.models import Model, ModelPrice


@transaction.atomic
def price_add(model: Model, *, principal: Principal, values: Mapping[str, Any]) -> ModelPrice:
    """A new price of a model, valid from now on unless the values say otherwise. Raises ValidationError.

    What was recorded keeps its cost.
    """
    principal.require(Permission.ADMINISTER)
    given = {name: value for name, value in values.items() if value is not None}
    return save_new(ModelPrice(workspace_id=model.workspace_id, model=model, **given))


def price_from_catalogue(model: Model, catalogue: Catalogue | None = None) -> ModelPrice | None:
    """The price of a new model, where the catalogue knows one; none where no vendor bills it."""
    catalogue = catalogue or shipped_catalogue()
    known = catalogue.find(model.identifier, ModelKind(model.kind))
    if known is None or known.price is None or not has_vendors_price(model.provider.type):
        return None
    return save_new(
        ModelPrice(
            workspace_id=model.workspace_id,
            model=model,
            valid_from=catalogue.valid_from(known.price),
            source=PriceSource.CATALOGUE,
            note=catalogue.note,
            **known.price.figures(),
        )
    )
