"""Models of scripted vendors, for tests of providers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.ids import uuid7
from llm.choices import ModelKind
from llm.models import Model
from llm.tests.factories import ModelFactory, ProviderFactory
from magnet.tests.scripted_provider import Exchange
from magnet.tests.scripted_vendors import VendorServer

KEY = "sk-the-vendors-own-key-0123456789"
AWS_SECRET = "aws/secret+key/0123456789abcdefghijklmnop"
CREDENTIALS: dict[str, dict[str, Any]] = {
    "bedrock": {"access_key_id": "AKIDEXAMPLE", "secret": AWS_SECRET, "region": "eu-west-1"},
}


@contextmanager
def vendor(answer: Callable[[Exchange], Any], settings: Any) -> Iterator[VendorServer]:
    """A running scripted vendor, allowed as a destination."""
    with VendorServer(answer) as server:
        settings.OUTBOUND_ALLOW = server.allow
        yield server


def model_at(server: VendorServer, type: str, identifier: str, **fields: Any) -> Model:
    """An unsaved model; `provider` among the fields changes its provider's."""
    given = CREDENTIALS.get(type, {"api_key": KEY})
    row = ProviderFactory.build(
        pk=uuid7(),
        type=type,
        slug=type,
        workspace=None,
        **{"base_url": server.url, **given, **fields.pop("provider", {})},
    )
    defaults = {"kind": ModelKind.CHAT, "slug": "a-model", "timeout_seconds": 2, "workspace": None}
    return ModelFactory.build(provider=row, identifier=identifier, **{**defaults, **fields})
