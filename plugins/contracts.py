"""What a plugin implements. Plain Python: third parties depend on this module alone.

Everything that crosses the boundary is a frozen dataclass or a plain type, so that it can be sent to
another process. Offsets count Unicode code points, as Python's `str` does.
"""

import json
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
    TOOL = "tool"  # what a tool returned; answers the call `tool_call_id` of the assistant before it


SPOKEN_ROLES = (MessageRole.SYSTEM, MessageRole.USER, MessageRole.ASSISTANT)
"""The roles that people write: in templates, in histories, in examples."""


@dataclass(frozen=True)
class Image:
    """A picture for a model that sees. media_type: `image/png`, `image/jpeg`, `image/webp` or `image/gif`."""

    data: bytes
    media_type: str


@dataclass(frozen=True)
class ToolSpec:
    """A tool that a model may call. name: letters, digits, `_` and `-`, at most 64. parameters: a JSON Schema of
    the type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ToolMode(StrEnum):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True)
class NamedTool:
    """The model has to call this tool."""

    name: str


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asks for. id: the vendor's, or one that its provider made where the vendor sends none.

    arguments: JSON text, exactly as it came: a provider never repairs, completes or replaces it. What `llm.client`
    hands out has been checked: it is the text of a JSON object.
    """

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any]:
        """The arguments as an object. Raises ValueError when they are none: then the call must not run."""
        value = json.loads(self.arguments, parse_constant=_no_number)
        if not isinstance(value, dict):
            raise ValueError(f"The arguments of the call of '{self.name}' are no JSON object.")
        return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number.")


@dataclass(frozen=True)
class ChatMessage:
    """One turn. tool_calls: what the assistant asked for in it. tool_call_id: of the call that a TOOL turn answers.

    continuation: of an assistant's turn, the `continuation` of the delta that ended it.
    """

    role: MessageRole
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    continuation: str = ""


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


class ReasoningEffort(StrEnum):
    """How long a model that reasons may think; each vendor's nearest setting is used."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class ChatRequest:
    """One call of a chat model. `model` is the vendor's identifier. Settings that are None are not sent.

    stop: the answer ends before any of these texts. seed: for answers that repeat, where the vendor can.
    tool_choice: None leaves it to the vendor, which is AUTO with tools.
    stream: False asks a server that cannot stream for the whole answer at once; it still comes as deltas.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    grounding: Grounding | None = None
    output: OutputFormat | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: ReasoningEffort | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolMode | NamedTool | None = None
    stream: bool = True


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
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    PROVIDER_CUT = "provider_cut"  # the stream ended without a finish reason


@dataclass(frozen=True)
class ChatDelta:
    """A piece of a streamed answer. The last one carries `finish_reason`, `usage` and the model that replied.

    refused: the model says that the passages hold no answer.
    reasoning: a piece of what the model thinks aloud; never a part of the answer.
    tool_calls: in the last delta only. A provider puts there whatever calls had begun, however the stream ended, as
    raw text; `llm.client` hands out complete and checked ones, with the reason TOOL_CALLS, or raises.
    continuation: in the last delta; what the vendor wants back with this turn (signed thoughts), opaque to all others.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    model: str = ""
    refused: bool = False
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    continuation: str = ""


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


@dataclass(frozen=True)
class RerankRequest:
    """top_n: how many of the documents are scored in the answer; None: all."""

    model: str
    query: str
    documents: tuple[str, ...]
    top_n: int | None = None


@dataclass(frozen=True)
class RerankScore:
    """index: of the document in the request. score: higher is better; its scale is the model's own."""

    index: int
    score: float


@dataclass(frozen=True)
class RerankResponse:
    """scores: best first, each document at most once. usage: vendors that bill by search send no tokens."""

    scores: tuple[RerankScore, ...]
    usage: TokenUsage
    model: str = ""


@dataclass(frozen=True)
class ListedModel:
    """A model that a vendor offers. kind: `chat`, `embedding`, `rerank`, or empty where the vendor does not say.

    max_input_tokens, capabilities: what the listing says itself; a capability that it does not name is unknown. Names:
    json_mode, json_schema, tool_calling, vision, reasoning, streaming.
    """

    identifier: str
    kind: str = ""
    title: str = ""
    max_input_tokens: int | None = None
    capabilities: Mapping[str, bool] = field(default_factory=dict)


class ProviderFailure(Exception):
    """A vendor's call failed.

    kind: unauthorized, rate_limited, overloaded, timeout, connection, refused, bad_request, server, bad_response,
    unsupported.
    message: ours, safe to show. retry_after: seconds, where the vendor named them.
    status: of the HTTP answer. vendor_message: what the vendor says itself, without secrets; only for those who
    configure the provider.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        vendor_message: str = "",
    ) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.status = status
        self.vendor_message = vendor_message


@dataclass(frozen=True)
class Endpoint:
    """Where a provider connects to, and as whom. Which parts count depends on its type; the others are empty.

    base_url: empty is the vendor's own. timeout_seconds: for the first and for each next part of an answer.
    api_version: Azure. region: a cloud's. project: Google Cloud. access_key_id, with the secret: AWS.
    secret: the second credential: AWS' secret key, Google's service account as JSON. headers: sent with each request.
    """

    timeout_seconds: float
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = ""
    region: str = ""
    project: str = ""
    access_key_id: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be repeated to anybody."""
        return tuple(one for one in (self.api_key, self.secret, *self.headers.values()) if one)


class Provider(Protocol):
    """A connection to a vendor, made for one endpoint and credential. Every call is cancellable.

    Derive from it: what the vendor does not offer is then refused as unsupported. All raise ProviderFailure.
    """

    def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """The answer as it comes; the last delta and no other has a finish reason."""
        raise ProviderFailure("unsupported", f"This provider has no chat models, such as '{request.model}'.")

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One request. The caller keeps to the vendor's limits on inputs and tokens."""
        raise ProviderFailure("unsupported", f"This provider has no embedding models, such as '{request.model}'.")

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """Score each document for the query."""
        raise ProviderFailure("unsupported", f"This provider has no rerank models, such as '{request.model}'.")

    async def list_models(self) -> tuple[ListedModel, ...]:
        """What the credential may use, in the vendor's order."""
        raise ProviderFailure("unsupported", "This provider does not list its models; enter the identifier.")

    async def close(self) -> None: ...
