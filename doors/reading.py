"""From a request's body to what is asked for: both ways of chatting become the same `Asked`."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.exceptions import FieldError, InvalidInput
from doors.asked import Asked
from doors.errors import refused
from doors.requests import ChatCompletionRequest, OpenAIMessage, OpenAIPart, ResponseItem, ResponseRequest
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    Image,
    MessageRole,
    NamedTool,
    OutputFormat,
    ReasoningEffort,
    ToolCall,
    ToolMode,
    ToolSpec,
)

B = TypeVar("B", bound=BaseModel)

ROLES = {
    "system": MessageRole.SYSTEM,
    "developer": MessageRole.SYSTEM,
    "user": MessageRole.USER,
    "assistant": MessageRole.ASSISTANT,
    "tool": MessageRole.TOOL,
}
TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
IMAGE_PARTS = frozenset({"image_url", "input_image"})
DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,", re.ASCII)
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_TOOLS = "Callers cannot bring tools here: what is configured rules. Use a raw model for them."
NO_IMAGES = "Images go to raw models alone, as what is configured here takes text."


def read(form: type[B], body: Any) -> B:
    """The checked body. Raises InvalidInput, which names each wrong field."""
    if not isinstance(body, dict):
        raise InvalidInput("The body has to be a JSON object.")
    try:
        return form.model_validate(body)
    except ValidationError as error:
        found = list(_field_errors(error))
        first = found[0]
        raise InvalidInput(f"{first.pointer.lstrip('/')}: {first.detail}", errors=found) from None


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        # Pydantic puts the branch of a union into the place, as no field is called.
        place = [str(part) for part in one["loc"] if isinstance(part, int) or re.fullmatch(r"[a-z_]+", str(part))]
        place = [part for part in place if part not in ("str", "float", "int", "bool", "dict", "list")]
        code = "missing_required_parameter" if one["type"] == "missing" else "invalid_value"
        yield FieldError("/" + "/".join(place), code, one["msg"])


def chat_asked(form: ChatCompletionRequest) -> Asked:
    """What a chat completion asks for. Raises InvalidInput for what nobody here can do."""
    if form.n is not None and form.n != 1:
        raise refused("n", "One answer to a request: n has to be 1.")
    if form.logprobs or form.top_logprobs:
        raise refused("logprobs", "Log probabilities are not offered.")
    if form.functions:
        raise refused("functions", "Functions are called tools now: send them in `tools`.")
    if form.modalities and set(form.modalities) != {"text"}:
        raise refused("modalities", "Answers are text alone.")
    turns = tuple(_turn(message, f"messages.{n}") for n, message in enumerate(form.messages))
    settings = ChatRequest(
        model="",
        messages=(),
        temperature=form.temperature,
        top_p=form.top_p,
        max_tokens=form.max_completion_tokens or form.max_tokens,
        output=_output(form.response_format, "response_format"),
        stop=(form.stop,) if isinstance(form.stop, str) else tuple(form.stop or ()),
        seed=form.seed,
        reasoning_effort=_effort(form.reasoning_effort),
        tools=tuple(_tool(tool, f"tools.{n}") for n, tool in enumerate(form.tools or ())),
        tool_choice=_tool_choice(form.tool_choice),
    )
    return Asked(
        model=form.model,
        turns=turns,
        settings=settings,
        metadata=form.metadata or {},
        foreign=tuple(_foreign(turns, settings, "messages")),
        stream=bool(form.stream),
        include_usage=bool(form.stream_options and form.stream_options.include_usage),
    )


def responses_asked(form: ResponseRequest) -> Asked:
    """What a response asks for. Raises InvalidInput for what nobody here can do."""
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(form, name):
            raise refused(name, "Nothing is stored between requests: send the earlier messages in `input`.")
    if form.background:
        raise refused("background", "Answers are given in the request that asks for them.")
    if form.top_logprobs:
        raise refused("top_logprobs", "Log probabilities are not offered.")
    turns = tuple(_said(form))
    settings = ChatRequest(
        model="",
        messages=(),
        temperature=form.temperature,
        top_p=form.top_p,
        max_tokens=form.max_output_tokens,
        output=_output((form.text or {}).get("format"), "text.format"),
        reasoning_effort=_effort((form.reasoning or {}).get("effort")),
        tools=tuple(_tool(tool, f"tools.{n}") for n, tool in enumerate(form.tools or ())),
        tool_choice=_tool_choice(form.tool_choice),
    )
    return Asked(
        model=form.model,
        turns=turns,
        settings=settings,
        metadata=form.metadata or {},
        foreign=tuple(_foreign(turns, settings, "input")),
        stream=bool(form.stream),
    )


def _foreign(turns: Sequence[ChatMessage], settings: ChatRequest, where: str) -> Iterator[tuple[str, str]]:
    """What slugs refuse, and raw models take."""
    if settings.tools:
        yield "tools", NO_TOOLS
    for number, turn in enumerate(turns):
        if turn.role is MessageRole.TOOL or turn.tool_calls:
            yield f"{where}.{number}", NO_TOOLS
        if turn.images:
            yield f"{where}.{number}", NO_IMAGES


def _turn(message: OpenAIMessage, where: str) -> ChatMessage:
    text, images = _content(message.content, f"{where}.content")
    calls = tuple(ToolCall(one.id, one.function.name, one.function.arguments) for one in message.tool_calls or ())
    return ChatMessage(ROLES[message.role], text, images, calls, message.tool_call_id or "")


def _said(form: ResponseRequest) -> Iterator[ChatMessage]:
    if form.instructions:
        yield ChatMessage(MessageRole.SYSTEM, form.instructions)
    if isinstance(form.input, str):
        yield ChatMessage(MessageRole.USER, form.input)
        return
    calls: tuple[ToolCall, ...] = ()
    for number, item in enumerate(form.input or ()):
        where = f"input.{number}"
        if item.type == "function_call":
            calls = (*calls, ToolCall(item.call_id or "", item.name or "", item.arguments or "{}"))
            continue
        if calls:  # calls of one turn stand in a row, each an item of its own
            yield ChatMessage(MessageRole.ASSISTANT, "", (), calls)
            calls = ()
        if item.type != "reasoning":  # a model's own thoughts, which clients send back as they came
            yield _item(item, where)
    if calls:
        yield ChatMessage(MessageRole.ASSISTANT, "", (), calls)


def _item(item: ResponseItem, where: str) -> ChatMessage:
    if item.type == "function_call_output":
        text, _ = _content(item.output, f"{where}.output")
        return ChatMessage(MessageRole.TOOL, text, tool_call_id=item.call_id or "")
    if item.type != "message" or item.role is None:
        raise refused(where, f"Items of the type '{item.type[:50]}' without a role are not understood here.")
    text, images = _content(item.content, f"{where}.content")
    return ChatMessage(ROLES[item.role], text, images)


def _content(content: str | list[OpenAIPart] | None, where: str) -> tuple[str, tuple[Image, ...]]:
    """The text of all parts, and the images between them."""
    if content is None or isinstance(content, str):
        return content or "", ()
    texts, images = [], []
    for number, part in enumerate(content):
        if part.type in TEXT_PARTS:
            texts.append(part.text or part.refusal or "")
        elif part.type in IMAGE_PARTS:
            images.append(_image(part, f"{where}.{number}"))
        else:
            raise refused(f"{where}.{number}", f"Parts of the type '{part.type[:50]}' are not taken; send text.")
    return "\n".join(texts), tuple(images)


def _image(part: OpenAIPart, where: str) -> Image:
    given = part.image_url.get("url") if isinstance(part.image_url, dict) else part.image_url
    found = DATA_URL.match(given) if isinstance(given, str) else None
    if found is None or not isinstance(given, str):
        raise refused(where, "An image is sent in the request, as a data: URL of a PNG, JPEG, WebP or GIF in base64.")
    try:
        return Image(base64.b64decode(given[found.end() :], validate=True), found[1])
    except ValueError:  # of the alphabet, and of letters beyond ASCII
        raise refused(where, "This image is no base64.") from None


def _output(given: Any, where: str) -> OutputFormat | None:
    """`json_schema` in the shapes of both endpoints: nested in chats, flat in responses."""
    kind = given.get("type") if isinstance(given, Mapping) else None
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat()
    inner = given.get("json_schema", given) if kind == "json_schema" else None
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise refused(where, "A format is text, json_object, or json_schema with a schema.")
    return OutputFormat(schema)


def _effort(given: Any) -> ReasoningEffort | None:
    return ReasoningEffort(given) if isinstance(given, str) and given in set(ReasoningEffort) else None


def _tool(given: Mapping[str, Any], where: str) -> ToolSpec:
    """A function in the shapes of both endpoints: nested in chats, flat in responses."""
    inner = given.get("function", given)
    if given.get("type", "function") != "function" or not isinstance(inner, Mapping):
        raise refused(where, "Tools are functions; others run at the vendor and are not offered.")
    name, parameters = inner.get("name"), inner.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name) or not isinstance(parameters, Mapping):
        raise refused(where, "A function needs a name (letters, digits, _ and -, at most 64) and parameters.")
    return ToolSpec(name, str(inner.get("description") or ""), parameters)


def _tool_choice(given: str | Mapping[str, Any] | None) -> ToolMode | NamedTool | None:
    if given is None:
        return None
    if isinstance(given, str):
        if given not in set(ToolMode):
            raise refused("tool_choice", "tool_choice is auto, none, required or a function.")
        return ToolMode(given)
    inner = given.get("function", given)
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(name, str):
        raise refused("tool_choice", "tool_choice is auto, none, required or a function.")
    return NamedTool(name)
