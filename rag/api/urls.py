"""Routes of retrieval tools and RAG tools."""

from django.urls import path

from core.api.routes import resource, variants
from rag.api.runs import RagQueryView, RetrievalSearchView
from rag.api.views import (
    RagToolViewSet,
    RagVariantViewSet,
    RetrievalToolViewSet,
    RetrievalVariantViewSet,
)

urlpatterns = [
    *resource("retrieval-tools", RetrievalToolViewSet),
    *variants("retrieval-tools", RetrievalVariantViewSet),
    path("retrieval-tools/<str:id>/search", RetrievalSearchView.as_view(), name="retrieval-tools-search"),
    *resource("rag-tools", RagToolViewSet),
    *variants("rag-tools", RagVariantViewSet),
    path("rag-tools/<str:id>/query", RagQueryView.as_view(), name="rag-tools-query"),
]
