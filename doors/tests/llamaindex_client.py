"""What LlamaIndex's OpenAI class does with /v1; `test_llamaindex.py` runs it in an environment of its own.

`python llamaindex_client.py URL KEY` prints what it heard as one JSON object. The class takes only names that it knows
from OpenAI, so that models and prompt templates are called like those here.
"""

import json
import sys

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel


class Days(BaseModel):
    """How many days."""

    days: int


def delete(path: str, note: str) -> str:
    """Delete what is at this path."""
    raise AssertionError(f"{path}, {note}: nothing runs here.")


def connect(model: str) -> OpenAI:
    return OpenAI(model=model, api_base=sys.argv[1], api_key=sys.argv[2], max_retries=0, temperature=0.5)


raw, prompted, tooled, echo = (connect(name) for name in ("gpt-4o-mini", "gpt-4-turbo", "gpt-4", "gpt-4o"))
asked = [ChatMessage(role="user", content="Hello")]
answer = raw.chat(asked)
pieces = [one.delta or "" for one in raw.stream_chat(asked)]
calls = tooled.chat_with_tools([FunctionTool.from_defaults(delete)], user_msg="Tidy up.")
try:
    connect("gpt-3.5-turbo").chat(asked)
    refused = ""
except openai.OpenAIError as error:
    refused = f"{type(error).__name__} {error}"
heard = {
    "complete": raw.complete("Hello").text,
    "chat": answer.message.content,
    "usage": answer.raw.usage.total_tokens,
    "streamed": "".join(pieces),
    "pieces": len([one for one in pieces if one]),
    "prompted": prompted.chat(asked).message.content,
    "tools": [(one.tool_name, one.tool_kwargs) for one in tooled.get_tool_calls_from_response(calls)],
    "structured": echo.structured_predict(Days, PromptTemplate("{said}"), said='{"days": 3}').days,
    "refused": refused,
}
sys.stdout.write(json.dumps(heard))
