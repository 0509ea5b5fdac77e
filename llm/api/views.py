"""Providers and models."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.access import Permission, Principal
from core.api.views import ConfigurationViewSet, ListRetrieve, WorkspaceViewSet, find
from llm.api.examples import MODEL_PRICES, MODELS, OLLAMA, PROVIDERS
from llm.api.filters import ModelFilters, ProviderFilters
from llm.api.serializers import (
    AvailableModelsSerializer,
    ModelPriceSerializer,
    ModelSerializer,
    OllamaSerializer,
    ProviderSerializer,
    ToolDraftsSerializer,
    TrialSerializer,
)
from llm.drafting import ToolDraft, drafts_create, tool_drafts
from llm.models import Model, ModelPrice, Provider
from llm.offering import offered_models
from llm.ollama import ollama_connect, ollama_offered
from llm.price_services import price_add
from llm.services import (
    model_breaker_reset,
    model_create,
    model_delete,
    model_update,
    provider_create,
    provider_delete,
    provider_update,
)
from llm.trials import model_try


class ProviderViewSet(ConfigurationViewSet):
    """Vendors' endpoints. Changing them takes an admin; their keys are never shown."""

    examples = PROVIDERS
    model = Provider
    calls_models = frozenset({"available_models"})
    permissions: ClassVar[dict[str, Permission]] = {
        **dict.fromkeys(("create", "partial_update", "destroy"), Permission.ADMINISTER),
        "available_models": Permission.MANAGE,
    }
    serializer_class = ProviderSerializer
    filterset_class = ProviderFilters
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "base_url")

    def create_object(self, data: dict[str, Any]) -> Provider:
        return provider_create(principal=self.principal, values=data)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Provider:
        return provider_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        provider_delete(instance, principal=self.principal)

    @extend_schema(request=None, responses=AvailableModelsSerializer)
    def available_models(self, request: Request, id: str) -> Response:
        """Ask the vendor which models it offers, which also tests address and credentials. A 502 says what the vendor
        says."""
        found = offered_models(self.get_object(), principal=self.principal)
        return Response(AvailableModelsSerializer({"results": found}).data)


class OllamaViewSet(WorkspaceViewSet):
    """The Ollama of the platform's machine, at the address that its settings name. For admins."""

    examples = OLLAMA
    permissions: ClassVar[dict[str, Permission]] = dict.fromkeys(("look", "connect"), Permission.ADMINISTER)

    @extend_schema(request=None, responses=AvailableModelsSerializer)
    def look(self, request: Request) -> Response:
        """Ask whether an Ollama answers, and which models it has. A 409 says what to do where none does."""
        found = ollama_offered(principal=self.principal)
        return Response(AvailableModelsSerializer({"results": found}).data)

    @extend_schema(request=None, responses=OllamaSerializer)
    def connect(self, request: Request) -> Response:
        """Connect it: a provider, a model for each that it has, and drafts of the tools that could use one. What is
        served stays; a second call adds what was pulled meanwhile."""
        return Response(OllamaSerializer(ollama_connect(principal=self.principal)).data)


class ModelViewSet(ConfigurationViewSet):
    """Models that can be used here."""

    examples = MODELS
    model = Model
    calls_models = frozenset({"test"})
    permissions: ClassVar[dict[str, Permission]] = {"offered_drafts": Permission.READ}
    serializer_class = ModelSerializer
    filterset_class = ModelFilters
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "identifier")

    def queryset_for(self, principal: Principal) -> Any:
        return super().queryset_for(principal).select_related("provider")

    def create_object(self, data: dict[str, Any]) -> Model:
        return model_create(principal=self.principal, values=data)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Model:
        return model_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        model_delete(instance, principal=self.principal)

    @extend_schema(request=None, responses=ModelSerializer)
    def reset_breaker(self, request: Request, id: str) -> Response:
        """Let calls of the model through at once, although it failed several times in a row."""
        model = self.get_object()
        model_breaker_reset(model, principal=self.principal)
        return Response(self.get_serializer(model).data)

    @extend_schema(request=None, responses=TrialSerializer)
    def test(self, request: Request, id: str) -> Response:
        """Call the model once. A model that does not answer is a 502 or 503 that says why, in the vendor's words."""
        trial = model_try(self.get_object(), principal=self.principal)
        return Response(TrialSerializer(trial).data)

    @extend_schema(request=None, responses=ToolDraftsSerializer)
    def offered_drafts(self, request: Request, id: str) -> Response:
        """The tools that have the local chat model or none, and whether they have a draft with this model."""
        return self._told(tool_drafts(self.get_object()))

    @extend_schema(request=None, responses=ToolDraftsSerializer)
    def make_drafts(self, request: Request, id: str) -> Response:
        """Make a draft with this model for each tool that has the local chat model or none. What is served stays;
        a draft that is there stays too; a second call finds what the first one made."""
        return self._told(drafts_create(self.get_object(), principal=self.principal))

    @staticmethod
    def _told(drafts: tuple[ToolDraft, ...]) -> Response:
        return Response(ToolDraftsSerializer({"results": drafts}).data)


class ModelPriceViewSet(ListRetrieve):
    """The prices of a model, newest first. They are added and never changed; adding takes an admin."""

    examples = MODEL_PRICES
    model = ModelPrice
    permissions: ClassVar[dict[str, Permission]] = {"create": Permission.ADMINISTER}
    serializer_class = ModelPriceSerializer
    ordering = ("-valid_from", "-id")

    def priced_model(self) -> Model:
        found: Model = find(Model.objects.for_workspace(self.principal.workspace_id), self.kwargs["id"])
        return found

    def queryset_for(self, principal: Principal) -> Any:
        return super().queryset_for(principal).filter(model=self.priced_model())

    def list(self, request: Request, id: str) -> Response:  # type: ignore[override]  # below a model
        return super().list(request)

    def create(self, request: Request, id: str) -> Response:
        model = self.priced_model()
        values = self.valid(self.get_serializer(data=request.data))
        return self.answer(price_add(model, principal=self.principal, values=values), status=201)
