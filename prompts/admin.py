"""Configure: prompt templates and their variants."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.access import Principal
from core.admin_forms import WorkspaceForm
from core.admin_variants import VariantAdmin, VariantedModelAdmin
from llm.choices import ModelKind
from prompts.models import PromptTemplate, PromptVariant
from prompts.services import prompt_create, prompt_delete, prompt_update
from prompts.widgets import MessagesField

MESSAGES_HELP = _(
    "{{ name }} in a text is replaced by the variable of that name and never evaluated. "
    "For RAG the variables are question and context."
)


class PromptTemplateForm(WorkspaceForm):
    """A new template brings the messages of its first draft."""

    messages = MessagesField(label=_("Messages"), help_text=MESSAGES_HELP)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            del self.fields["messages"]

    class Meta:
        model = PromptTemplate
        fields = ("name", "slug", "category", "description")


@admin.register(PromptTemplate)
class PromptTemplateAdmin(VariantedModelAdmin):
    """Instructions with variables."""

    form = PromptTemplateForm
    list_display = ("name", "slug", "category", "served", "draft", "updated")
    list_filter = ("category",)
    search_fields = ("name", "slug", "description")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    fieldsets = ((None, {"fields": ("name", "slug", "category", "description")}),)
    add_fieldsets = (
        (None, {"fields": ("name", "slug", "category", "description")}),
        (_("First draft"), {"fields": ("messages",)}),
    )
    empty_title = _("No prompt templates yet")
    empty_text = _("A prompt template holds the instructions that a model gets.")

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> PromptTemplate:
        own = {name: value for name, value in values.items() if name != "messages"}
        return prompt_create(principal=principal, values=own, variant={"messages": values["messages"]})

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return prompt_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        prompt_delete(obj, principal=principal)


class PromptVariantForm(WorkspaceForm):
    messages = MessagesField(label=_("Messages"), help_text=MESSAGES_HELP)

    class Meta:
        model = PromptVariant
        fields = ("note", "messages", "model", "temperature", "top_p", "max_tokens")


@admin.register(PromptVariant)
class PromptVariantAdmin(VariantAdmin):
    """The messages and the model's settings."""

    form = PromptVariantForm
    settings_fields = ("model", "temperature", "top_p", "max_tokens")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        text = "messages" if self.has_change_permission(request, obj) else "messages_text"
        return [(None, {"fields": ["note", text]}), (_("Model settings"), {"fields": list(self.settings_fields)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("messages_text",)

    def choices_for(self, db_field: Any, request: HttpRequest) -> Any:
        rows = super().choices_for(db_field, request)
        return rows.filter(kind=ModelKind.CHAT, is_active=True) if db_field.name == "model" else rows

    @display(description=_("Messages"))
    def messages_text(self, obj: PromptVariant) -> SafeString:
        return render_to_string("admin/prompts/messages_read.html", {"messages": obj.messages})
