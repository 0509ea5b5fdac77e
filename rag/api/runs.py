"""Running retrieval tools and RAG tools: as JSON, or as server-sent events."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from observability.api.runs import RunView
from observability.runs.work import Started
from plugins.contracts import MessageRole
from rag.answering.engine import Question, Turn
from rag.api.examples import RAG_QUERY, RETRIEVAL_SEARCH
from rag.api.serializers import AnswerSerializer, QueryRequest, SearchAnswer, SearchRequest
from rag.models import RagTool, RetrievalTool
from rag.running import question_start, search_start


class RagQueryView(RunView):
    examples = RAG_QUERY
    form = QueryRequest
    tools = RagTool

    @extend_schema(
        operation_id="rag_tools_query",
        request=QueryRequest,
        responses={200: AnswerSerializer, (200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def post(self, request: Request, id: str) -> Any:
        """Ask a RAG tool. With `"stream": true` the answer comes as events; the last one carries this same object."""
        return await self.run(request)

    def prepare(self, tool: Any, data: dict[str, Any]) -> Started:
        history = tuple(Turn(MessageRole(turn["role"]), turn["content"]) for turn in data.get("history", ()))
        question = Question(data["question"], history, data.get("filters"))
        return question_start(principal=self.principal, tool=tool, question=question, variant=data.get("variant"))


class RetrievalSearchView(RunView):
    examples = RETRIEVAL_SEARCH
    form = SearchRequest
    tools = RetrievalTool

    @extend_schema(
        operation_id="retrieval_tools_search",
        request=SearchRequest,
        responses={200: SearchAnswer, (200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def post(self, request: Request, id: str) -> Any:
        """Search with a retrieval tool: the passages, best first, with the scores and ranks of both searches."""
        return await self.run(request)

    def prepare(self, tool: Any, data: dict[str, Any]) -> Started:
        return search_start(
            principal=self.principal,
            tool=tool,
            query=data["query"],
            top_k=data.get("top_k"),
            filters=data.get("filters"),
            variant=data.get("variant"),
        )
