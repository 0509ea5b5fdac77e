"""The endpoints of /v1 that list what may be named, and that embed."""

from dataclasses import asdict
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.access import Permission
from core.api.idempotency import REPLAYED, attempt_of, begin_slowly, end_slowly
from core.api.views import AsyncAPIView, PrincipalMixin
from core.limits import Rate
from doors.api.examples import EMBEDDINGS, MODELS
from doors.api.schemas import EmbeddingList, OpenAIModel, OpenAIModelList
from doors.api.views import RUN_OR_MODELS, DoorMixin, require_run_or_models
from doors.embeddings import embed, embedding_list, embedding_model, texts_of
from doors.reading import read
from doors.requests import EmbeddingsRequest
from doors.targets import Listed, find_target, listed, one_line


class _ListView(DoorMixin, PrincipalMixin, APIView):
    examples = MODELS
    permissions: ClassVar[dict[str, Permission | None]] = {"get": None}
    own_rules: ClassVar[dict[str, Permission | tuple[str, str]]] = {"get": RUN_OR_MODELS}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "GET":
            require_run_or_models(self.principal)


def _shown(line: Listed) -> dict[str, Any]:
    return {"object": "model", **asdict(line)}


class ModelListView(_ListView):
    @extend_schema(operation_id="openai_models_list", responses=OpenAIModelList, tags=["v1"])
    def get(self, request: Request) -> Response:
        """What this caller may name in `model`: RAG tools, prompt templates, and raw models with the scope models."""
        return Response({"object": "list", "data": [_shown(line) for line in listed(self.principal)]})


class ModelDetailView(_ListView):
    @extend_schema(operation_id="openai_models_retrieve", responses=OpenAIModel, tags=["v1"])
    def get(self, request: Request, id: str) -> Response:
        """One of them, by any name that `model` takes."""
        return Response(_shown(one_line(id, find_target(self.principal, id), self.principal)))


class EmbeddingsView(DoorMixin, AsyncAPIView):
    examples = EMBEDDINGS
    permissions: ClassVar[dict[str, Permission | None]] = {"post": Permission.MODELS}
    rate = Rate.RUNS
    once = True
    calls_models = frozenset({"post"})

    @extend_schema(operation_id="openai_embeddings", request=EmbeddingsRequest, responses=EmbeddingList, tags=["v1"])
    async def post(self, request: Request) -> Response:
        """Vectors of up to 2,048 texts by an embedding model, in order, of unit length."""
        form = await sync_to_async(self._read)(request)
        attempt = await sync_to_async(attempt_of)(request)
        if attempt is None:
            return Response(await self._answer(form))
        kept = await sync_to_async(begin_slowly)(attempt)
        if kept is not None:
            return Response(kept, headers={REPLAYED: "true"})
        answer = None
        try:
            answer = await self._answer(form)
        finally:
            await sync_to_async(end_slowly)(attempt, answer)
        return Response(answer)

    def _read(self, request: Request) -> EmbeddingsRequest:
        form = read(EmbeddingsRequest, request.data)
        self.texts = texts_of(form)
        self.model = embedding_model(self.principal, form)
        return form

    async def _answer(self, form: EmbeddingsRequest) -> dict[str, Any]:
        return embedding_list(form, await embed(self.principal, self.model, self.texts, form))
