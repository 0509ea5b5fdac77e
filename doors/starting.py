"""From what a caller of /v1 asks for to a saved run, through the services of every other door."""

from collections.abc import Sequence

from core.access import Principal
from core.exceptions import FieldError, InvalidInput, NotFound
from doors.asked import Asked
from doors.errors import UnknownModel, refused
from doors.targets import Kind, Target
from llm.running import model_start
from observability.runs.work import Started
from plugins.contracts import ChatMessage, MessageRole
from prompts.running import prompt_start
from rag.answering.engine import Question, Turn
from rag.running import question_start


def run_start(principal: Principal, target: Target, asked: Asked) -> Started:
    """Save the run. Raises InvalidInput for what the target cannot take, Conflict when it cannot run now."""
    if target.kind is Kind.MODEL:
        return model_start(principal=principal, model=target.row, request=asked.request)
    for param, why in asked.foreign:
        raise refused(param, why)
    turns = _as_data(asked.turns)
    try:
        if target.kind is Kind.RAG:
            return question_start(
                principal=principal,
                tool=target.row,
                question=_question(turns),
                variant=target.variant,
                max_tokens=asked.settings.max_tokens,
            )
        return prompt_start(
            principal=principal,
            template=target.row,
            texts=asked.metadata,
            turns=turns,
            variant=target.variant,
            max_tokens=asked.settings.max_tokens,
        )
    except NotFound:  # the variant that the model's name pins
        raise UnknownModel(asked.model) from None


def _as_data(turns: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The configured instructions rule: what the caller says as system or developer is something that a user said."""
    return [
        ChatMessage(MessageRole.USER if turn.role is MessageRole.SYSTEM else turn.role, turn.content) for turn in turns
    ]


def _question(turns: Sequence[ChatMessage]) -> Question:
    if not turns or turns[-1].role is not MessageRole.USER:
        detail = "The last message has to be the user's question."
        raise InvalidInput(detail, errors=[FieldError("/messages", "invalid", detail)])
    history = tuple(Turn(turn.role, turn.content) for turn in turns[:-1] if turn.content)
    return Question(turns[-1].content, history)
