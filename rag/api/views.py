"""Retrieval tools and RAG tools: configuration and variants. Their runs stand in `rag/api/runs.py`."""

from typing import Any

from accounts.api.sharing import HidesUnshared
from core.access import Permission, Principal
from core.api.variants import VariantViewSet
from core.api.views import ConfigurationViewSet
from core.models import ConfigurationModel
from rag.api.examples import RAG_TOOLS, RAG_VARIANTS, RETRIEVAL_TOOLS, RETRIEVAL_VARIANTS
from rag.api.serializers import (
    RagToolSerializer,
    RagVariantSerializer,
    RetrievalToolSerializer,
    RetrievalVariantSerializer,
)
from rag.models import RagTool, RagVariant, RetrievalTool, RetrievalVariant
from rag.selectors import rag_tools_of, retrieval_tools_of
from rag.services import rag_tool_create, retrieval_tool_create, tool_delete, tool_update


class _ToolViewSet(HidesUnshared, ConfigurationViewSet):
    permissions = {"list": Permission.READ_OWN, "retrieve": Permission.READ_OWN}
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "description")
    filterset_fields = {"slug": ["exact", "in"], "created_at": ["gte", "lte"], "updated_at": ["gte", "lte"]}

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> ConfigurationModel:
        return tool_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        tool_delete(instance, principal=self.principal)


class RetrievalToolViewSet(_ToolViewSet):
    """Retrieval tools: query in, ranked passages out."""

    examples = RETRIEVAL_TOOLS
    model = shared_model = RetrievalTool
    serializer_class = RetrievalToolSerializer

    def queryset_for(self, principal: Principal) -> Any:
        return retrieval_tools_of(principal).prefetch_related("variants", "shares__member", "shares__group")

    def create_object(self, data: dict[str, Any]) -> RetrievalTool:
        variant = data.pop("variant", {})
        return retrieval_tool_create(principal=self.principal, values=data, variant=variant)


class RagToolViewSet(_ToolViewSet):
    """RAG tools: question in, cited answer out."""

    examples = RAG_TOOLS
    model = shared_model = RagTool
    serializer_class = RagToolSerializer

    def queryset_for(self, principal: Principal) -> Any:
        return rag_tools_of(principal).prefetch_related("variants", "shares__member", "shares__group")

    def create_object(self, data: dict[str, Any]) -> RagTool:
        variant = data.pop("variant", {})
        return rag_tool_create(principal=self.principal, values=data, variant=variant)


class RetrievalVariantViewSet(HidesUnshared, VariantViewSet):
    """Variants of a retrieval tool."""

    examples = RETRIEVAL_VARIANTS
    model = RetrievalVariant
    parent_model = shared_model = RetrievalTool
    serializer_class = RetrievalVariantSerializer

    def queryset_for(self, principal: Principal) -> Any:
        return super().queryset_for(principal).prefetch_related("sources")


class RagVariantViewSet(HidesUnshared, VariantViewSet):
    """Variants of a RAG tool."""

    examples = RAG_VARIANTS
    model = RagVariant
    parent_model = shared_model = RagTool
    serializer_class = RagVariantSerializer
