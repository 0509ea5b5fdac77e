"""What is known of vendors' models: facts and prices, shipped as data and refreshed from a file. A help, no limit."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.exceptions import InvalidInput
from llm.choices import ModelKind, ProviderType
from llm.pricing import DATED
from llm.providers.presets import PRESETS

DEFAULT_CHAT = "gpt-4.1-mini"
DEFAULT_EMBEDDING = "text-embedding-3-small"
SHIPPED = Path(__file__).with_name("catalogue.toml")
MAX_FILE_BYTES = 5_000_000
# What runs on one's own machine has no vendor's price, whatever its name is.
OWN_MACHINES = frozenset({ProviderType.LOCAL.value, "ollama", "vllm"})

CAPABILITIES = ("json_mode", "json_schema", "tool_calling", "vision", "reasoning", "streaming")

# What families of chat models have learnt, by the beginning of the identifier; their makers' later ones too.
_SEE = r"gpt-4(o|\.1)|(.*anthropic\.)?claude-3-(5|haiku|opus)|grok-4|mistral-(large|medium|small)|pixtral"
_SEE_AND_THINK = r"gpt-5(?!.*chat)|o\d($|-(?!mini))|o4|(.*anthropic\.)?claude-(3-7|\w+-\d)|gemini-(2\.5|[3-9])"
_THINK = r"o[13]-mini|magistral|qwen3|deepseek-r|gpt-oss"
FAMILIES = (
    (re.compile(_SEE), {"vision"}),
    (re.compile(_SEE_AND_THINK), {"vision", "reasoning"}),
    (re.compile(_THINK), {"reasoning"}),
)

Amount = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownPrice(_Part):
    """For 1,000,000 tokens. valid_from: where it is not the catalogue's own date."""

    input: Amount
    cached_input: Amount | None = None
    output: Amount = Decimal(0)
    reasoning: Amount | None = None
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    valid_from: date | None = None

    def figures(self) -> dict[str, Any]:
        """The columns of a price row."""
        return self.model_dump(exclude={"valid_from"})


class KnownModel(_Part):
    """max_input_tokens: of one input. dimensions: of the vectors that come without asking for a size.

    The capabilities are those of a model that differ from its family's and its provider's.
    """

    kind: ModelKind
    max_input_tokens: int | None = Field(default=None, ge=1, le=100_000_000)
    dimensions: int | None = Field(default=None, ge=1, le=100_000)
    json_mode: bool | None = None
    json_schema: bool | None = None
    tool_calling: bool | None = None
    vision: bool | None = None
    reasoning: bool | None = None
    streaming: bool | None = None
    price: KnownPrice | None = None


class Catalogue(_Part):
    """Models by identifier. as_of: the day for which the figures were right. source: where they come from."""

    as_of: date
    source: str = Field(min_length=1, max_length=200)
    models: dict[Annotated[str, Field(min_length=1, max_length=200)], KnownModel]

    def find(self, identifier: str, kind: ModelKind) -> KnownModel | None:
        """The model of this identifier, or of it without its date."""
        for name in (identifier, DATED.sub("", identifier)):
            known = self.models.get(name)
            if known is not None and known.kind is kind:
                return known
        return None

    def valid_from(self, price: KnownPrice) -> datetime:
        day = price.valid_from or self.as_of
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

    @property
    def note(self) -> str:
        """What a price row says of its origin."""
        return f"Catalogue as of {self.as_of}: {self.source}"[:300]


def read_catalogue(path: Path) -> Catalogue:
    """A catalogue from a TOML or JSON file. Raises InvalidInput, saying what is wrong and where."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; that is no catalogue.")
        text = content.decode()
        parsed = json.loads(text, parse_float=Decimal) if path.suffix == ".json" else _toml(text)
    except (OSError, ValueError, RecursionError) as error:  # both decoders' errors are ValueErrors
        raise InvalidInput(f"{path} cannot be read: {error}", hint="Give a TOML or JSON file.") from error
    return parse_catalogue(parsed, str(path))


def _toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=Decimal)


def parse_catalogue(content: Mapping[str, Any], name: str) -> Catalogue:
    """Raises InvalidInput with the first thing that does not fit."""
    try:
        return Catalogue.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{name} is no catalogue: {where}: {first['msg']}.") from error


@cache
def shipped_catalogue() -> Catalogue:
    """The one of this release."""
    return read_catalogue(SHIPPED)


def known_facts(identifier: str, kind: ModelKind) -> dict[str, Any]:
    """The columns of a model that the catalogue can fill; empty for a model that it does not know."""
    known = shipped_catalogue().find(identifier, kind)
    columns = {"max_input_tokens", "dimensions", *CAPABILITIES}
    facts = {} if known is None else known.model_dump(include=columns, exclude_none=True)
    learnt = [able for family, able in FAMILIES if family.match(identifier)] if kind is ModelKind.CHAT else []
    return {**dict.fromkeys(sorted(set().union(*learnt)), True), **facts}


def type_facts(provider_type: str, kind: ModelKind) -> dict[str, bool]:
    """What chat models of this type of provider can or cannot do, where that differs from the columns' defaults."""
    preset = PRESETS.get(provider_type)
    return dict(preset.capabilities) if preset is not None and kind is ModelKind.CHAT else {}


def has_vendors_price(provider_type: str) -> bool:
    """Whether models of this type of provider are billed by the vendor whose name they have."""
    return provider_type not in OWN_MACHINES
