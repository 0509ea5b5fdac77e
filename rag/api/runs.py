"""Running retrieval tools and RAG tools: as JSON, or as server-sent events."""

from typing import Any

from asgiref.sync import sync_to_async
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core.access import Permission
from core.api.sse import EventStreamRenderer, stream_response, wants_stream
from core.api.views import AsyncAPIView, is_uuid
from core.exceptions import NotFound
from observability.runs import live
from plugins.contracts import MessageRole
from rag.answering.engine import Question, Turn
from rag.api.serializers import AnswerSerializer, QueryRequest, SearchAnswer, SearchRequest
from rag.running import Started, question_start, search_start
from rag.selectors import rag_tools_of, retrieval_tools_of


class _RunView(AsyncAPIView):
    permissions = {"post": Permission.RUN}
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    def find(self, tools: Any, reference: str, what: str) -> Any:
        """The tool that the URL names by id or slug."""
        found = tools.filter(**{"pk" if is_uuid(reference) else "slug": reference}).first()
        if found is None:
            raise NotFound(f"There is no {what} '{reference[:100]}'.")
        return found

    async def run(self, request: Request, started: Started, stream: bool) -> Any:
        """Execute, and answer in the form that was asked for."""
        await live.start(started.run, started.work)
        if wants_stream(request, stream):
            return stream_response(live.follow(started.run.pk))
        return Response(await live.wait(started.run.pk))


class RagQueryView(_RunView):
    @extend_schema(
        operation_id="rag_tools_query",
        request=QueryRequest,
        responses={200: AnswerSerializer, (200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def post(self, request: Request, id: str) -> Any:
        """Ask a RAG tool. With `"stream": true` the answer comes as events; the last one carries this same object."""
        started, stream = await sync_to_async(self._start)(request, id)
        return await self.run(request, started, stream)

    def _start(self, request: Request, id: str) -> tuple[Started, bool]:
        tool = self.find(rag_tools_of(self.principal), id, "RAG tool")
        form = QueryRequest(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        history = tuple(Turn(MessageRole(turn["role"]), turn["content"]) for turn in data.get("history", ()))
        question = Question(data["question"], history, data.get("filters"))
        started = question_start(principal=self.principal, tool=tool, question=question, variant=data.get("variant"))
        return started, data["stream"]


class RetrievalSearchView(_RunView):
    @extend_schema(
        operation_id="retrieval_tools_search",
        request=SearchRequest,
        responses={200: SearchAnswer, (200, "text/event-stream"): OpenApiTypes.STR},
    )
    async def post(self, request: Request, id: str) -> Any:
        """Search with a retrieval tool: the passages, best first, with the scores and ranks of both searches."""
        started, stream = await sync_to_async(self._start)(request, id)
        return await self.run(request, started, stream)

    def _start(self, request: Request, id: str) -> tuple[Started, bool]:
        tool = self.find(retrieval_tools_of(self.principal), id, "retrieval tool")
        form = SearchRequest(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        started = search_start(
            principal=self.principal,
            tool=tool,
            query=data["query"],
            top_k=data.get("top_k"),
            filters=data.get("filters"),
            variant=data.get("variant"),
        )
        return started, data["stream"]
