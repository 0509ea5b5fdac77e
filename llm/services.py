"""Writes of providers and models."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.versions import save_version
from llm.models import Model, Provider


@transaction.atomic
def provider_create(*, principal: Principal, values: Mapping[str, Any]) -> Provider:
    principal.require(Permission.ADMINISTER)
    provider = Provider(workspace_id=principal.workspace_id, **values)
    provider.full_clean()
    provider.save()
    return provider


def provider_update(
    provider: Provider, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Provider:
    """Change a provider. Another base URL clears the stored key unless a new one comes in the same edit: a key is
    never sent to an address that it was not given for."""
    principal.require(Permission.ADMINISTER)
    values = dict(values)
    moved = "base_url" in values and values["base_url"] != provider.base_url
    if moved and not values.get("api_key"):
        values["api_key"] = ""
    return _update(provider, values, expected)


@transaction.atomic
def model_create(*, principal: Principal, values: Mapping[str, Any]) -> Model:
    principal.require(Permission.MANAGE)
    model = Model(workspace_id=principal.workspace_id, **values)
    _only_default(model)
    model.full_clean()
    model.save()
    return model


@transaction.atomic
def model_update(
    model: Model, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Model:
    """Change a model; making it the default takes that from the one before."""
    principal.require(Permission.MANAGE)
    if values.get("is_default"):
        model.kind = values.get("kind", model.kind)
        model.is_default = True
        _only_default(model)
    return _update(model, values, expected)


def _only_default(model: Model) -> None:
    if model.is_default:
        others = Model.objects.for_workspace(model.workspace_id).filter(kind=model.kind, is_default=True)
        others.exclude(pk=model.pk).update(is_default=False)


def _update(row: Any, values: Mapping[str, Any], expected: int | None) -> Any:
    for name, value in values.items():
        setattr(row, name, value)
    return save_version(row, expected=expected, fields=list(values))
