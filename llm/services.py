"""Writes of providers and models."""

import logging
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from core.access import Permission, Principal
from core.audit import audit, delete_row, save_new
from core.exceptions import ServiceUnavailable
from core.versions import save_version
from llm import breaker
from llm.catalogue import known_facts, type_facts
from llm.choices import ModelKind
from llm.models import SPACE_FIELDS, Model, ModelPrice, Provider
from llm.price_services import price_from_catalogue

logger = logging.getLogger(__name__)

R = TypeVar("R", Provider, Model)

# What an embedding model that is in use keeps: it decides in which space the vectors lie, and who computes them.
FIXED_FIELDS = ("kind", "provider", *SPACE_FIELDS)


@transaction.atomic
def provider_create(*, principal: Principal, values: Mapping[str, Any]) -> Provider:
    """A new provider. Raises ValidationError for an address that the platform may not connect to."""
    principal.require(Permission.ADMINISTER)
    provider = Provider(workspace_id=principal.workspace_id, **_cleaned(values))
    return save_new(provider)


@transaction.atomic
def provider_update(
    provider: Provider, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Provider:
    """Change a provider. Another base URL clears the stored credentials but for those that come in the same edit: a key
    is never sent to an address that it was not given for."""
    principal.require(Permission.ADMINISTER)
    values = _cleaned(values)
    # The row that came in may carry a form's new values already.
    stored = Provider.objects.for_workspace(provider.workspace_id).get(pk=provider.pk)
    if values.get("type", stored.type) != stored.type:
        raise ValidationError({"type": ValidationError(_("The type stays; create another provider."), code="fixed")})
    moved = values.get("base_url", stored.base_url) != stored.base_url
    if moved:
        values.update({name: "" for name in NO_CREDENTIALS if getattr(stored, name) and not values.get(name)})
    if NO_CREDENTIALS.keys() & values.keys():
        values["key_refused_at"] = None
    return _update(provider, values, expected)


NO_CREDENTIALS: Mapping[str, Any] = {"api_key": "", "secret": "", "headers": ""}
MAX_HEADERS = 20
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,1998}[\x21-\x7e])?")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})


def _check_headers(headers: Mapping[str, Any]) -> None:
    """Raises ValidationError, without any value in it."""
    if len(headers) > MAX_HEADERS:
        raise ValidationError({"headers": ValidationError(_("At most 20 headers."), code="too_many")})
    for name, value in headers.items():
        if name.lower() in _OURS or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(str(value)):
            message = _("The header '%(name)s' cannot be sent.") % {"name": name[:100]}
            raise ValidationError({"headers": ValidationError(message, code="invalid")})


def _cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = dict(values)
    if "headers" in cleaned:
        cleaned["headers"] = cleaned["headers"] or ""
        _check_headers(cleaned["headers"] or {})
    if "base_url" in cleaned:
        cleaned["base_url"] = str(cleaned["base_url"]).strip().rstrip("/")
    return cleaned


@transaction.atomic
def provider_key_refused(provider: Provider) -> None:
    """Alert the admins, once: in the log of changes, in the lists and pages, and by `doctor`."""
    rows = Provider.objects.for_workspace(provider.workspace_id).filter(pk=provider.pk, version=provider.version)
    provider.key_refused_at = timezone.now()
    if rows.filter(key_refused_at=None).update(key_refused_at=provider.key_refused_at):
        logger.error("llm.key_refused", extra={"provider": provider.slug})
        audit("key_refused", provider)


def provider_key_accepted(provider: Provider) -> None:
    """Take the note back: a call worked."""
    provider.key_refused_at = None
    Provider.objects.for_workspace(provider.workspace_id).filter(pk=provider.pk).update(key_refused_at=None)


def provider_delete(provider: Provider, *, principal: Principal) -> None:
    """Raises ProtectedError (a 409) while it has models."""
    principal.require(Permission.ADMINISTER)
    delete_row(provider)


@transaction.atomic
def model_create(*, principal: Principal, values: Mapping[str, Any]) -> Model:
    """A new model. What is left out, and its price, is taken from the catalogue, where it knows the identifier."""
    principal.require(Permission.MANAGE)
    given = {name: value for name, value in values.items() if value is not None}
    kind = ModelKind(given["kind"])
    facts = {
        **type_facts(given["provider"].type, kind),
        **known_facts(str(given.get("identifier", "")), kind),
    }
    model = Model(workspace_id=principal.workspace_id, **{**facts, **given})
    _only_default(model)
    saved = save_new(model)
    price_from_catalogue(saved)
    return saved


@transaction.atomic
def model_update(
    model: Model, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> Model:
    """Change a model; making it the default takes that from the one before.

    Raises ValidationError when an embedding model that is in use would give vectors of another space.
    """
    principal.require(Permission.MANAGE)
    _keep_space(model, values)
    for name, value in values.items():
        setattr(model, name, value)
    _only_default(model)
    return _update(model, values, expected)


def _keep_space(model: Model, values: Mapping[str, Any]) -> None:
    stored = Model.objects.for_workspace(model.workspace_id).select_related("provider").get(pk=model.pk)
    changed = [name for name in FIXED_FIELDS if name in values and values[name] != getattr(stored, name)]
    if changed and stored.kind == ModelKind.EMBEDDING and _in_use(stored):
        message = _("Stored vectors depend on this model. Create another one and switch the sources to it.")
        raise ValidationError({name: ValidationError(message, code="in_use") for name in changed})


def _in_use(model: Model) -> bool:
    relations = [one for one in model._meta.get_fields(include_hidden=True) if one.one_to_many or one.one_to_one]
    return any(
        one.related_model._base_manager.filter(**{one.field.name: model}).exists()  # type: ignore[union-attr]  # reverse relations have both
        for one in relations
        if one.auto_created and one.related_model is not ModelPrice
    )


def model_delete(model: Model, *, principal: Principal) -> None:
    """Raises ProtectedError (a 409) while something uses it."""
    principal.require(Permission.MANAGE)
    delete_row(model)


def model_breaker_reset(model: Model, *, principal: Principal) -> None:
    """Let calls through at once. Raises ServiceUnavailable while Valkey, which holds the state, does not answer."""
    from redis.exceptions import RedisError

    principal.require(Permission.MANAGE)
    try:
        breaker.reset(model)
    except RedisError:
        raise ServiceUnavailable("Valkey does not answer, so the breaker stays as it is.", hint="Try again.") from None
    audit("reset_breaker", model)


def _only_default(model: Model) -> None:
    if model.is_default:
        others = Model.objects.for_workspace(model.workspace_id).filter(kind=model.kind, is_default=True)
        others.exclude(pk=model.pk).update(is_default=False, version=F("version") + 1)


def _update(row: R, values: Mapping[str, Any], expected: int | None) -> R:
    for name, value in values.items():
        setattr(row, name, value)
    return save_version(row, expected=expected, fields=list(values))
