"""Knowledge sources and their documents: upload, watch, read, retry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from core.access import Permission, Principal
from core.admin import PageModelAdmin, WorkspaceModelAdmin, WorkspaceRelatedFilter
from core.admin_display import clipped, moment, number, size
from core.admin_forms import WorkspaceForm
from knowledge import storage
from knowledge.choices import DocumentStatus
from knowledge.forecasting import price_text
from knowledge.models import Chunk, Document, DocumentText, KnowledgeSource
from knowledge.schemas import Chunking
from knowledge.services import document_delete, document_retry, source_create, source_delete, source_update
from llm.choices import ModelKind
from llm.models import Model

STATUS_COLOURS = {
    DocumentStatus.PENDING: "default",
    DocumentStatus.PROCESSING: "info",
    DocumentStatus.READY: "success",
    DocumentStatus.FAILED: "danger",
}
OPEN = (DocumentStatus.PENDING, DocumentStatus.PROCESSING)
RECENT = 20
CHUNKS_A_PAGE = 100


class SourceForm(WorkspaceForm):
    """The chunking profile as two numbers instead of JSON."""

    max_tokens = forms.IntegerField(
        label=_("Passage size (tokens)"),
        min_value=50,
        max_value=2000,
        initial=200,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("50 to 2000; 200 measured best with the local model. Fixed once the source holds documents."),
    )
    overlap_tokens = forms.IntegerField(
        label=_("Overlap (tokens)"),
        min_value=0,
        max_value=500,
        initial=20,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("How much a passage repeats of the one before."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        profile = self.instance.chunking or {}
        for name in ("max_tokens", "overlap_tokens"):
            if name in self.fields and name in profile:
                self.initial[name] = profile[name]
        if self.instance._state.adding and "embedding_model" in self.fields:
            embedding = Model.objects.for_workspace(self.principal.workspace_id).filter(kind=ModelKind.EMBEDDING)
            self.initial.setdefault("embedding_model", embedding.filter(is_default=True).first())

    def values(self) -> dict[str, Any]:
        values = super().values()
        profile = {name: values.pop(name) for name in ("max_tokens", "overlap_tokens") if name in values}
        if profile:
            before = {} if self.instance._state.adding else (self.instance.chunking or {})
            values["chunking"] = Chunking.model_validate({**before, **profile}).model_dump()
        return values

    class Meta:
        model = KnowledgeSource
        fields = ("name", "slug", "description", "embedding_model", "filter_fields")


@admin.register(KnowledgeSource)
class KnowledgeSourceAdmin(WorkspaceModelAdmin):
    """Origins of documents. Files are dropped on the page of a source."""

    form = SourceForm
    list_display = ("name", "slug", "ready", "waiting", "failed", "embedding_model", "updated")
    list_select_related = ("embedding_model",)
    search_fields = ("name", "slug", "description")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "description")}),
        (_("How documents are read"), {"fields": ("embedding_model", "max_tokens", "overlap_tokens", "filter_fields")}),
    )
    change_form_outer_before_template = "admin/knowledge/source_documents.html"
    empty_title = _("No knowledge sources yet")
    empty_text = _("A source holds documents of one kind. Add one, then drop your files on its page.")

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super()
            .get_queryset(request)
            .annotate(
                ready_total=Count("documents", filter=Q(documents__status=DocumentStatus.READY)),
                open_total=Count("documents", filter=Q(documents__status__in=OPEN)),
                failed_total=Count("documents", filter=Q(documents__status=DocumentStatus.FAILED)),
            )
        )

    def choices_for(self, db_field: Any, request: HttpRequest) -> Any:
        rows = super().choices_for(db_field, request)
        return rows.filter(kind=ModelKind.EMBEDDING, is_active=True) if db_field.name == "embedding_model" else rows

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        source = self.get_object(request, object_id) if object_id else None
        extra = {**self.documents_context(request, source), **(extra_context or {})} if source else extra_context
        return super().changeform_view(request, object_id, form_url, extra)

    def documents_context(self, request: HttpRequest, source: Any) -> dict[str, Any]:
        recent = source.documents.order_by("-id")[:RECENT]
        return {
            "documents": [(one, STATUS_TAGS.get(one.status, "")) for one in recent],
            "documents_open": source.open_total > 0,
            "documents_ready": source.ready_total,
            "documents_failed": source.failed_total,
            "documents_waiting": source.open_total,
            "documents_url": f"{reverse('admin:knowledge_document_changelist')}?source__id__exact={source.pk}",
            "upload_url": f"/api/v1/knowledge-sources/{source.pk}/documents/",
            "may_ingest": self._allows(request, Permission.INGEST),
            "embedding_price": price_text(source),
        }

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> KnowledgeSource:
        return source_create(principal=principal, values=values)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return source_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        source_delete(obj, principal=principal)

    @display(description=_("Ready"), ordering="ready_total")
    def ready(self, obj: Any) -> str:
        return number(obj.ready_total)

    @display(description=_("Waiting"), ordering="open_total")
    def waiting(self, obj: Any) -> str:
        return number(obj.open_total)

    @display(description=_("Failed"), ordering="failed_total", label={"failed": "danger"})
    def failed(self, obj: Any) -> Any:
        return ("failed", number(obj.failed_total)) if obj.failed_total else None

    @display(description=_("Updated"), ordering="updated_at")
    def updated(self, obj: Any) -> str:
        return moment(obj.updated_at)


STATUS_TAGS = {
    DocumentStatus.READY.value: "mg-good",
    DocumentStatus.FAILED.value: "mg-bad",
    DocumentStatus.PROCESSING.value: "mg-busy",
}


@dataclass(frozen=True)
class Passage:
    """A chunk with the part of the document's text that it is the last to begin: what overlaps is shown once."""

    chunk: Chunk
    text: str
    gap: str


@admin.register(Document)
class DocumentAdmin(PageModelAdmin):
    """A document: its text with the passages, why it failed, its file."""

    page_template = "admin/knowledge/document.html"
    list_display = ("title", "source", "status_label", "why", "passages", "file_size", "added")
    list_filter = ("status", ("source", WorkspaceRelatedFilter), "media_type")
    list_select_related = ("source",)
    search_fields = ("title", "filename", "external_id")
    list_before_template = "admin/core/live_list.html"
    delete_permission = Permission.INGEST
    actions = ("retry_chosen",)
    empty_title = _("No documents yet")
    empty_text = _("Open a knowledge source and drop files on its page.")
    empty_link = ("admin:knowledge_knowledgesource_changelist", _("Go to the knowledge sources"))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/retry/", view(require_POST(self.retry)), name="knowledge_document_retry"),
            path("<uuid:pk>/file/", view(self.download), name="knowledge_document_file"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        live = self.get_queryset(request).filter(status__in=OPEN).exists()
        return super().changelist_view(request, {**(extra_context or {}), "live": live})

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        page = self.passage_page(obj, request.GET.get("page"))
        may = self._allows(request, Permission.INGEST)
        return {
            "tag": STATUS_TAGS.get(obj.status, ""),
            "open": obj.status in OPEN,
            "size_text": size(obj.size),
            "passage_page": page,
            "passages": passages_of(obj, list(page.object_list)),
            "has_file": storage.path_of(obj.storage_key).is_file() if obj.storage_key else False,
            "may_retry": may and obj.status == DocumentStatus.FAILED,
            "may_delete": may,
            "metadata": sorted(obj.metadata.items()),
        }

    def passage_page(self, document: Any, wanted: str | None) -> Any:
        chunks = document.chunks.filter(index_id=document.source.active_index_id).order_by("ordinal")
        return Paginator(chunks, CHUNKS_A_PAGE).get_page(wanted)

    def retry(self, request: HttpRequest, pk: Any) -> HttpResponse:
        document = self.object_or_404(request, str(pk))
        if not self._allows(request, Permission.INGEST):
            raise PermissionDenied

        def act() -> Any:
            document_retry(document, principal=self.principal(request))
            messages.success(request, _("The document is queued again."))
            return self.page_of(document)

        answer: HttpResponse = self.refusable(request, act, lambda: self.page_of(document))
        return answer

    def download(self, request: HttpRequest, pk: Any) -> FileResponse:
        """The file as it was uploaded: always a download, never a page of this site."""
        document = self.object_or_404(request, str(pk))
        file = storage.path_of(document.storage_key) if document.storage_key else None
        if file is None or not file.is_file():
            raise Http404
        response = FileResponse(
            file.open("rb"),
            as_attachment=True,
            filename=document.filename or document.title,
            content_type="application/octet-stream",
        )
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        return response

    def remove_object(self, principal: Principal, obj: Any) -> None:
        document_delete(obj, principal=principal)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, Permission.INGEST)

    @admin.action(description=_("Retry the chosen documents"), permissions=["retry"])
    def retry_chosen(self, request: HttpRequest, queryset: Any) -> None:
        failed = [one for one in queryset if one.status == DocumentStatus.FAILED]
        for document in failed:
            document_retry(document, principal=self.principal(request))
        messages.info(request, _("Queued again: %(count)d") % {"count": len(failed)})

    @display(description=_("Status"), ordering="status", label=STATUS_COLOURS)
    def status_label(self, obj: Document) -> tuple[str, Any]:
        return obj.status, DocumentStatus(obj.status).label

    @display(description=_("Why"))
    def why(self, obj: Document) -> str:
        return clipped(obj.reason, 140) or "—"

    @display(description=_("Passages"), ordering="chunk_count")
    def passages(self, obj: Document) -> str:
        return number(obj.chunk_count)

    @display(description=_("Size"), ordering="size")
    def file_size(self, obj: Document) -> str:
        return size(obj.size)

    @display(description=_("Added"), ordering="id")
    def added(self, obj: Document) -> str:
        return moment(obj.created_at)


def passages_of(document: Document, chunks: list[Chunk]) -> list[Passage]:
    """The document's text, divided where its passages begin."""
    body = DocumentText.objects.filter(document=document).first()
    if body is None:
        return [Passage(chunk, chunk.text, "") for chunk in chunks]
    shown: list[Passage] = []
    at = chunks[0].char_start if chunks else 0
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        end = min(chunk.char_end, following.char_start) if following is not None else chunk.char_end
        shown.append(Passage(chunk, body.text[max(at, chunk.char_start) : end], body.text[at : chunk.char_start]))
        at = max(at, end)
    return shown
