"""Knowledge sources, documents and passages."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from django.db.models import Count, Q
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from core.access import Permission, Principal
from core.api.parsers import StrictJSONParser
from core.api.views import ConfigurationViewSet, ListRetrieve, find
from core.exceptions import NotFound
from knowledge.api.examples import DOCUMENTS, KNOWLEDGE_SOURCES, SOURCE_DOCUMENTS
from knowledge.api.serializers import (
    AcceptedSerializer,
    ChunkSerializer,
    DocumentSerializer,
    DocumentTextSerializer,
    FileUpload,
    ForecastSerializer,
    KnowledgeSourceSerializer,
    TextUpload,
)
from knowledge.choices import DocumentStatus
from knowledge.forecasting import over_budget, reindex_forecast
from knowledge.models import Chunk, Document, DocumentText, KnowledgeSource
from knowledge.services import (
    Upload,
    document_delete,
    document_retry,
    document_upload,
    source_create,
    source_delete,
    source_update,
)
from knowledge.storage import path_of
from observability.models import Job

FILTERS = {
    "status": ["exact", "in"],
    "media_type": ["exact"],
    "external_id": ["exact"],
    "created_at": ["gte", "lte"],
    "updated_at": ["gte", "lte"],
}
ORDERINGS = ("title", "created_at", "updated_at", "size")


class KnowledgeSourceViewSet(ConfigurationViewSet):
    """Knowledge sources: where documents come from and how they are indexed."""

    examples = KNOWLEDGE_SOURCES
    model = KnowledgeSource
    serializer_class = KnowledgeSourceSerializer
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "description")
    permissions = {"forecast": Permission.READ}
    filterset_fields = {"slug": ["exact", "in"], "connector": ["exact"], "created_at": ["gte", "lte"]}

    def queryset_for(self, principal: Principal) -> Any:
        counts = {
            f"{status.value}_count": Count("documents", filter=Q(documents__status=status)) for status in DocumentStatus
        }
        return super().queryset_for(principal).annotate(**counts)

    def create_object(self, data: dict[str, Any]) -> KnowledgeSource:
        return source_create(principal=self.principal, values=data)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> KnowledgeSource:
        return source_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        source_delete(instance, principal=self.principal)

    @extend_schema(responses=ForecastSerializer)
    def forecast(self, request: Request, id: str) -> Response:
        """What it would cost to embed all passages of the source anew, with its model and the price of now."""
        found = reindex_forecast(self.get_object())
        told = over_budget(found, self.principal.workspace_id, self.principal.key_id)
        return Response(ForecastSerializer({**asdict(found), "over_budget": told}).data)


def accepted(document: Document, job: Job | None) -> Response:
    """202 with the job to follow, or 200 when there is nothing to do."""
    body = {"job_id": job.pk if job else None, "document_id": document.pk, "status": document.status}
    headers = {"Location": f"/api/v1/jobs/{job.pk}/"} if job else {}
    return Response(AcceptedSerializer(body).data, status=202 if job else 200, headers=headers)


class SourceDocumentViewSet(ListRetrieve):
    """The documents of one source, and the way in for new ones."""

    examples = SOURCE_DOCUMENTS
    model = Document
    permissions = {"create": Permission.INGEST, "replace": Permission.INGEST}
    serializer_class = DocumentSerializer
    parser_classes = (MultiPartParser, StrictJSONParser)
    ordering = ("-id",)
    ordering_fields = ORDERINGS
    search_fields = ("title", "filename", "external_id")
    filterset_fields = FILTERS

    def source(self) -> KnowledgeSource:
        rows = KnowledgeSource.objects.for_workspace(self.principal.workspace_id).select_related("active_index")
        found: KnowledgeSource = find(rows, self.kwargs["id"])
        return found

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return rows.filter(source=self.source()).select_related("source")

    def list(self, request: Request, id: str) -> Response:  # type: ignore[override]  # below a source
        return super().list(request)

    @extend_schema(
        request={"multipart/form-data": FileUpload, "application/json": TextUpload},
        responses={202: AcceptedSerializer, 200: AcceptedSerializer},
    )
    def create(self, request: Request, id: str) -> Response:
        """Upload a file (field `file`) or a text. The answer is 202 with the job that makes it searchable."""
        return self._take(request, self.source(), "")

    @extend_schema(
        request={"multipart/form-data": FileUpload, "application/json": TextUpload},
        responses={202: AcceptedSerializer, 200: AcceptedSerializer},
    )
    def replace(self, request: Request, id: str, external_id: str) -> Response:
        """Create or replace the document with this external id. Its present passages answer until the new are ready."""
        return self._take(request, self.source(), external_id)

    def _take(self, request: Request, source: KnowledgeSource, external_id: str) -> Response:
        is_file = (request.content_type or "").startswith("multipart/")
        form: Any = FileUpload(data=request.data) if is_file else TextUpload(data=request.data)
        data = self.valid(form)
        content = data["file"] if is_file else data["text"]
        upload = Upload(
            content=content,
            filename=(content.name or "") if is_file else "",
            title=data.get("title", ""),
            external_id=external_id or data.get("external_id", ""),
            url=data.get("url", ""),
            metadata=data.get("metadata", {}),
        )
        return accepted(*document_upload(principal=self.principal, source=source, upload=upload))


class DocumentViewSet(ListRetrieve):
    """Documents of the workspace."""

    examples = DOCUMENTS
    model = Document
    permissions = {"destroy": Permission.INGEST, "retry": Permission.INGEST, "text": Permission.READ,
                   "file": Permission.READ}  # fmt: skip
    serializer_class = DocumentSerializer
    ordering = ("-id",)
    ordering_fields = ORDERINGS
    search_fields = ("title", "filename", "external_id")
    filterset_fields = {**FILTERS, "source__slug": ["exact"]}

    def queryset_for(self, principal: Principal) -> Any:
        return super().queryset_for(principal).select_related("source")

    def destroy(self, request: Request, id: str) -> Response:
        """Delete the document; it answers nothing from now on."""
        document_delete(self.get_object(), principal=self.principal)
        return Response(status=204)

    @extend_schema(request=None, responses={202: AcceptedSerializer})
    def retry(self, request: Request, id: str) -> Response:
        """Try a failed document again."""
        return accepted(*document_retry(self.get_object(), principal=self.principal))

    @extend_schema(responses=DocumentTextSerializer)
    def text(self, request: Request, id: str) -> Response:
        """The text of the document. Offsets of passages and citations point into it."""
        body = DocumentText.objects.filter(document=self.get_object()).first()
        if body is None:
            raise NotFound("This document has no text yet.")
        return Response({"text": body.text, "length": len(body.text)})

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def file(self, request: Request, id: str) -> FileResponse:
        """The file as it came in; always a download."""
        document = self.get_object()
        path = path_of(document.storage_key)
        if not path.is_file():  # a document without a key has the folder as its path
            raise NotFound("The file of this document is gone.")
        response = FileResponse(path.open("rb"), content_type="application/octet-stream")
        name = quote(document.filename or f"{document.pk}.txt")
        response["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        return response


class DocumentChunkViewSet(ListRetrieve):
    """The passages of one document, in order."""

    examples = DOCUMENTS
    model = Chunk
    serializer_class = ChunkSerializer
    ordering = ("ordinal", "id")
    ordering_fields = ("ordinal",)

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return rows.filter(document=self.document())

    def document(self) -> Document:
        found: Document = find(Document.objects.for_workspace(self.principal.workspace_id), self.kwargs["id"])
        return found

    def list(self, request: Request, id: str) -> Response:  # type: ignore[override]  # below a document
        return super().list(request)
