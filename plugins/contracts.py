"""What a plugin implements. Plain Python: third parties depend on this module alone.

Everything that crosses the boundary is a frozen dataclass or a plain type, so that it can be sent to
another process. Offsets count Unicode code points, as Python's `str` does.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# --- documents -------------------------------------------------------------------------------------------------


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    QUOTE = "quote"


@dataclass(frozen=True)
class Block:
    """A structural part of a document, in reading order.

    text: as in the document; quotes, brackets, URLs, code and line breaks intact.
    level: of a heading, 1 is the highest. page: 1-based page, slide or sheet number, where the format has one.
    """

    kind: BlockKind
    text: str
    level: int | None = None
    page: int | None = None


@dataclass(frozen=True)
class ParsedDocument:
    """What a parser makes of a file. `metadata` holds plain JSON values (author, created, sheet names…)."""

    blocks: tuple[Block, ...]
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ParseError(Exception):
    """The file cannot be read. `code` is one of: encrypted, damaged, empty, no_text, type_mismatch, too_large,
    timeout, out_of_memory, parser_crashed. `reason` is a sentence for the person who uploaded it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Parser(Protocol):
    """Turns one kind of file into blocks. Runs in a child process without network.

    name: unique. version: raise it when the output changes; it is part of the index fingerprint.
    media_types, extensions (`.pdf`): what it is registered for.
    """

    name: str
    version: int
    media_types: tuple[str, ...]
    extensions: tuple[str, ...]

    def parse(self, path: Path) -> ParsedDocument:
        """Read the file or raise ParseError."""
        ...


# --- chunks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChunkingProfile:
    """How documents are cut. Sizes are in tokens of the embedding model.

    max_tokens: no chunk is longer. overlap_tokens: repeated at a cut inside a long paragraph only.
    """

    chunker: str = "structure"
    max_tokens: int = 200
    overlap_tokens: int = 20


@dataclass(frozen=True)
class ChunkDraft:
    """A passage of a document, before it is stored.

    text == document_text[char_start:char_end], always. heading_path: titles from the highest heading down.
    """

    ordinal: int
    text: str
    heading_path: tuple[str, ...]
    page: int | None
    char_start: int
    char_end: int


@dataclass(frozen=True)
class ChunkedDocument:
    """The canonical text (what `GET documents/{id}/text` shows) and the passages that point into it."""

    text: str
    chunks: tuple[ChunkDraft, ...]


class TokenCounter(Protocol):
    def __call__(self, text: str) -> int: ...


class Chunker(Protocol):
    """Cuts a parsed document into passages along its structure."""

    name: str
    version: int

    def chunk(
        self, document: ParsedDocument, profile: ChunkingProfile, count_tokens: TokenCounter
    ) -> ChunkedDocument: ...


# --- connectors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceItem:
    """One file or page that a connector found. `external_id` is stable and unique in its source."""

    external_id: str
    title: str
    path: Path
    media_type: str = ""
    url: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Connector(Protocol):
    """Lists the items of an external origin. `config` has been checked against `config_schema`."""

    name: str
    config_schema: type[Any]

    def items(self, config: Any) -> Sequence[SourceItem]: ...


# --- models ----------------------------------------------------------------------------------------------------

if TYPE_CHECKING:
    Vectors = NDArray[np.float32]
else:
    Vectors = Any  # the parser child imports this module, and needs no numpy


REFUSAL = "The sources do not answer this question."
"""What a model says when the passages hold no answer: the prompts ask for it, and runs are resolved by it."""


class EmbeddingPurpose(StrEnum):
    QUERY = "query"
    PASSAGE = "passage"


class MessageRole(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True)
class ChatMessage:
    role: MessageRole
    content: str


@dataclass(frozen=True)
class GroundingPassage:
    """A passage as it is numbered in the prompt. marker is 1-based."""

    marker: int
    text: str
    title: str = ""
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grounding:
    """The question and passages of a grounded answer, beside their rendering in the messages, for models that
    answer from passages alone."""

    question: str
    passages: tuple[GroundingPassage, ...]


@dataclass(frozen=True)
class OutputFormat:
    """That the answer is JSON; schema: the JSON Schema that it fits, where there is one."""

    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChatRequest:
    """One call of a chat model. `model` is the vendor's identifier. Settings that are None are not sent."""

    model: str
    messages: tuple[ChatMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    grounding: Grounding | None = None
    output: OutputFormat | None = None


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one call. estimated: the vendor sent no usage and the figures were counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    PROVIDER_CUT = "provider_cut"  # the stream ended without a finish reason


@dataclass(frozen=True)
class ChatDelta:
    """A piece of a streamed answer. The last one carries `finish_reason`, `usage` and the model that replied.

    refused: the model says that the passages hold no answer.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    model: str = ""
    refused: bool = False


@dataclass(frozen=True)
class EmbeddingRequest:
    model: str
    texts: tuple[str, ...]
    purpose: EmbeddingPurpose
    dimensions: int | None = None


@dataclass(frozen=True)
class EmbeddingResponse:
    """vectors: shape (len(texts), dimensions), float32, rows of unit length or as the vendor sends them."""

    vectors: Vectors
    usage: TokenUsage
    model: str = ""


class ProviderFailure(Exception):
    """A vendor's call failed.

    kind: unauthorized, rate_limited, overloaded, timeout, connection, refused, bad_request, server, bad_response,
    unsupported.
    message: ours, safe to show. retry_after: seconds, where the vendor named them.
    """

    def __init__(self, kind: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after


class Provider(Protocol):
    """A connection to a vendor, made for one endpoint and credential. Every call is cancellable."""

    def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]: ...

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse: ...

    async def close(self) -> None: ...
