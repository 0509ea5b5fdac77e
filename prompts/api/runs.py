"""Running prompt templates: as JSON, or as server-sent events."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from observability.api.runs import RunView
from observability.runs.work import Started
from plugins.contracts import ChatMessage, MessageRole
from prompts.api.examples import PROMPT_RUN
from prompts.api.serializers import PromptAnswer, PromptRunRequest
from prompts.models import PromptTemplate
from prompts.running import prompt_start


class PromptRunView(RunView):
    examples = PROMPT_RUN
    form = PromptRunRequest
    tools = PromptTemplate

    @extend_schema(
        operation_id="prompt_templates_run",
        request=PromptRunRequest,
        responses={200: PromptAnswer, (200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def post(self, request: Request, id: str) -> Any:
        """Run a prompt template. With `"stream": true` the answer comes as events; the last one carries this object."""
        return await self.run(request)

    def prepare(self, tool: Any, data: dict[str, Any]) -> Started:
        turns = [ChatMessage(MessageRole(turn["role"]), turn["content"]) for turn in data.get("messages", ())]
        return prompt_start(
            principal=self.principal,
            template=tool,
            variables=data.get("variables", {}),
            turns=turns,
            variant=data.get("variant"),
        )
