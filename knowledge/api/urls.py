"""Routes of knowledge sources, documents and passages."""

from django.urls import path

from core.api.routes import resource, verb
from knowledge.api.views import DocumentChunkViewSet, DocumentViewSet, KnowledgeSourceViewSet, SourceDocumentViewSet

SOURCE = "knowledge-sources/<str:id>/documents/"

urlpatterns = [
    *resource("knowledge-sources", KnowledgeSourceViewSet),
    verb("knowledge-sources/<str:id>/forecast", KnowledgeSourceViewSet, "knowledge-sources-forecast", get="forecast"),
    path(SOURCE, SourceDocumentViewSet.as_view({"get": "list", "post": "create"}), name="source-documents"),
    path(
        f"{SOURCE}by-external-id/<path:external_id>",
        SourceDocumentViewSet.as_view({"put": "replace"}),
        name="source-documents-replace",
    ),
    *resource("documents", DocumentViewSet),
    verb("documents/<str:id>/retry", DocumentViewSet, "documents-retry", post="retry"),
    verb("documents/<str:id>/text", DocumentViewSet, "documents-text", get="text"),
    verb("documents/<str:id>/file", DocumentViewSet, "documents-file", get="file"),
    path("documents/<str:id>/chunks/", DocumentChunkViewSet.as_view({"get": "list"}), name="documents-chunks"),
]
