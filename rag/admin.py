"""Configure and test: retrieval tools and RAG tools, with pages to try them in place."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.admin_sharing import SHARING_FIELDSET, SharingForm
from core.access import Principal
from core.admin_forms import WorkspaceForm
from core.admin_try import NO_ID, TryAdmin
from core.admin_variants import VariantAdmin
from core.variant_services import variant_edit
from knowledge.models import KnowledgeSource
from llm.choices import ModelKind
from llm.models import Model
from prompts.models import PromptCategory, PromptTemplate
from rag.models import RagTool, RagVariant, RetrievalTool, RetrievalVariant
from rag.services import rag_tool_create, retrieval_tool_create, tool_delete, tool_update

MAX_SAMPLES = 12
SOURCES_HELP = _("Searched together in one question.")


def set_queryset(field: forms.Field, rows: "models.QuerySet[Any]") -> None:
    """Offer these rows in a choice field."""
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = rows


class LinesField(forms.CharField):
    """A list of short texts, written one a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return [line.strip() for line in text.splitlines() if line.strip()]

    def validate(self, value: Any) -> None:
        if len(value) > MAX_SAMPLES:
            raise forms.ValidationError(_("At most %(most)d, one a line.") % {"most": MAX_SAMPLES})
        if any(len(line) > 300 for line in value):
            raise forms.ValidationError(_("A question may have 300 characters."))

    def run_validators(self, value: Any) -> None:
        """Those of a CharField judge one text."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


def _sources_field() -> forms.ModelMultipleChoiceField[Any]:
    return forms.ModelMultipleChoiceField(
        queryset=KnowledgeSource.objects.none(),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        label=_("Knowledge sources"),
        help_text=SOURCES_HELP,
    )


class RetrievalToolForm(SharingForm):
    """A new tool names the sources of its first draft."""

    sources = _sources_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            set_queryset(self.fields["sources"], KnowledgeSource.objects.for_workspace(self.principal.workspace_id))
        else:
            del self.fields["sources"]

    class Meta:
        model = RetrievalTool
        fields = ("name", "slug", "description", "shared_with_everybody")


class RagToolForm(SharingForm):
    """A new tool names what its first draft answers from."""

    sample_questions = LinesField(
        label=_("Sample questions"), required=False, help_text=_("One a line; offered on the panel, one click each.")
    )
    retrieval_tool = forms.ModelChoiceField(
        queryset=RetrievalTool.objects.none(), widget=UnfoldAdminSelectWidget(), label=_("Retrieval tool")
    )
    prompt = forms.ModelChoiceField(
        queryset=PromptTemplate.objects.none(),
        widget=UnfoldAdminSelectWidget(),
        label=_("Prompt template"),
        help_text=_("The instructions of the answer; it gets the variables question and context."),
    )
    model = forms.ModelChoiceField(
        queryset=Model.objects.none(),
        widget=UnfoldAdminSelectWidget(),
        label=_("Chat model"),
        required=False,
        help_text=_("Empty: the default chat model of the workspace."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = {
            "retrieval_tool": RetrievalTool.objects.for_workspace(self.principal.workspace_id),
            "prompt": _rag_prompts(PromptTemplate.objects.for_workspace(self.principal.workspace_id)),
            "model": _chat_models(Model.objects.for_workspace(self.principal.workspace_id)),
        }
        for name, queryset in choices.items():
            if self.instance._state.adding:
                set_queryset(self.fields[name], queryset)
            else:
                del self.fields[name]
        if self.instance._state.adding:
            self._choose_what_is_alone(choices)

    def _choose_what_is_alone(self, choices: Mapping[str, models.QuerySet[Any]]) -> None:
        """Where there is one thing to choose, it is chosen; of models, the default."""
        for name in ("retrieval_tool", "prompt"):
            found = list(choices[name][:2])
            if len(found) == 1:
                self.initial.setdefault(name, found[0])
        self.initial.setdefault("model", choices["model"].filter(is_default=True).first())

    class Meta:
        model = RagTool
        fields = ("name", "slug", "header", "sample_questions", "description", "shared_with_everybody")


def _rag_prompts(prompts: models.QuerySet[Any]) -> models.QuerySet[Any]:
    return prompts.filter(category=PromptCategory.RAG)


def _chat_models(found: models.QuerySet[Any]) -> models.QuerySet[Any]:
    return found.filter(kind=ModelKind.CHAT, is_active=True).select_related("provider")


class ToolAdmin(TryAdmin):
    """What retrieval tools and RAG tools share: their list, their variants, their page to try them."""

    list_display = ("name", "slug", "served", "draft", "updated", "try_link")
    search_fields = ("name", "slug", "description")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    variant_fields: ClassVar[tuple[str, ...]]

    def try_context(self, obj: Any, variants: list[Any]) -> dict[str, Any]:
        return {"document_url": reverse("admin:knowledge_document_change", args=[NO_ID])}

    def split(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of the tool, and those of its first draft."""
        draft = {name: values[name] for name in self.variant_fields if values.get(name) is not None}
        return {name: value for name, value in values.items() if name not in self.variant_fields}, draft

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return tool_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        tool_delete(obj, principal=principal)


@admin.register(RetrievalTool)
class RetrievalToolAdmin(ToolAdmin):
    """Query in, ranked passages out."""

    form = RetrievalToolForm
    fieldsets = ((None, {"fields": ("name", "slug", "description")}), SHARING_FIELDSET)
    add_fieldsets = (
        (None, {"fields": ("name", "slug", "description")}),
        (_("First draft"), {"fields": ("sources",)}),
        SHARING_FIELDSET,
    )
    try_name = "search"
    try_label = try_verb = _("Search")
    try_template = "admin/rag/search.html"
    variant_fields = ("sources",)
    empty_title = _("No retrieval tools yet")
    empty_text = _("A retrieval tool searches one or more knowledge sources. Add a source with documents first.")

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> RetrievalTool:
        own, draft = self.split(values)
        return retrieval_tool_create(principal=principal, values=own, variant=draft)


@admin.register(RagTool)
class RagToolAdmin(ToolAdmin):
    """Question in, cited answer out."""

    form = RagToolForm
    fieldsets = ((None, {"fields": ("name", "slug", "header", "sample_questions", "description")}), SHARING_FIELDSET)
    add_fieldsets = (
        (None, {"fields": ("name", "slug", "header", "sample_questions", "description")}),
        (_("First draft"), {"fields": ("retrieval_tool", "prompt", "model")}),
        SHARING_FIELDSET,
    )
    try_name = "ask"
    try_label = try_verb = _("Ask")
    try_template = "admin/rag/ask.html"
    variant_fields = ("retrieval_tool", "prompt", "model")
    empty_title = _("No RAG tools yet")
    empty_text = _("A RAG tool answers questions from what a retrieval tool finds, and cites it.")

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> RagTool:
        own, draft = self.split(values)
        return rag_tool_create(principal=principal, values=own, variant=draft)

    def variants_to_try(self, tool: Any) -> list[Any]:
        return list(tool.variants.select_related("model__provider").order_by("-is_active", "-number"))


class RetrievalVariantForm(WorkspaceForm):
    sources = _sources_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "sources" in self.fields:
            set_queryset(self.fields["sources"], KnowledgeSource.objects.for_workspace(self.principal.workspace_id))

    class Meta:
        model = RetrievalVariant
        fields = (
            "note", "sources", "mode", "top_k", "candidates", "dense_weight", "similarity_threshold", "rerank_model",
            "rerank_top_n", "neighbours", "observability_level",
        )  # fmt: skip


@admin.register(RetrievalVariant)
class RetrievalVariantAdmin(VariantAdmin):
    """Where a retrieval tool searches and how it ranks."""

    form = RetrievalVariantForm
    radio_fields: ClassVar[Any] = {"mode": admin.VERTICAL}
    ranking_fields = ("candidates", "dense_weight", "similarity_threshold", "neighbours")
    rerank_fields = ("rerank_model", "rerank_top_n")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Not the attribute: Django's check knows no form field for a relation with a model of its own."""
        return [
            (None, {"fields": ["note", "sources", "mode", "top_k"]}),
            (_("Ranking"), {"fields": list(self.ranking_fields)}),
            (_("Reranking"), {"fields": list(self.rerank_fields)}),
            (_("What is kept"), {"fields": ["observability_level"]}),
        ]

    def choices_for(self, db_field: Any, request: HttpRequest) -> Any:
        rows = super().choices_for(db_field, request)
        return rows.filter(kind=ModelKind.RERANK) if db_field.name == "rerank_model" else rows

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        chosen = {**values, "sources": list(values["sources"])}
        return variant_edit(obj, values=chosen, expected=expected)


@admin.register(RagVariant)
class RagVariantAdmin(VariantAdmin):
    """What a RAG tool answers from, with which instructions and model."""

    fieldsets = (
        (None, {"fields": ("note", "retrieval_tool", "prompt", "model")}),
        (_("Pins"), {"fields": ("retrieval_variant", "prompt_variant")}),
        (_("What is kept"), {"fields": ("observability_level",)}),
    )

    def choices_for(self, db_field: Any, request: HttpRequest) -> Any:
        rows = super().choices_for(db_field, request)
        narrow = {"prompt": _rag_prompts, "model": _chat_models}.get(db_field.name)
        return narrow(rows) if narrow else rows
