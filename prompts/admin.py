"""Configure: prompt templates and their variants."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from accounts.admin_sharing import SHARING_FIELDSET, SharingForm
from core.access import Principal
from core.admin_forms import WorkspaceForm
from core.admin_try import TryAdmin
from core.admin_variants import VariantAdmin
from llm.choices import ModelKind, ProviderType
from prompts.models import PromptTemplate, PromptVariant
from prompts.rendering import specs_of
from prompts.services import prompt_create, prompt_delete, prompt_update
from prompts.widgets import ExamplesWidget, MessagesWidget, RowsField, VariablesWidget

MESSAGES_HELP = _(
    "{{ name }} in a text is replaced by the variable of that name and never evaluated. "
    "For RAG the variables are question and context."
)
VARIABLES_HELP = _("A name in the messages that is not listed here takes a required text.")
EXAMPLES_HELP = _("Sent as earlier turns, behind the system's messages. They show the model what is wanted.")


class PromptTemplateForm(SharingForm):
    """A new template brings the messages of its first draft."""

    messages = RowsField(widget=MessagesWidget, label=_("Messages"), help_text=MESSAGES_HELP)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            del self.fields["messages"]

    class Meta:
        model = PromptTemplate
        fields = ("name", "slug", "category", "description", "shared_with_everybody")


@admin.register(PromptTemplate)
class PromptTemplateAdmin(TryAdmin):
    """Instructions with variables, and a page to run them."""

    form = PromptTemplateForm
    list_display = ("name", "slug", "category", "served", "draft", "updated", "try_link")
    list_filter = ("category",)
    search_fields = ("name", "slug", "description")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    fieldsets = ((None, {"fields": ("name", "slug", "category", "description")}), SHARING_FIELDSET)
    add_fieldsets = (
        (None, {"fields": ("name", "slug", "category", "description")}),
        (_("First draft"), {"fields": ("messages",)}),
        SHARING_FIELDSET,
    )
    try_name = "run"
    try_label = try_verb = _("Run")
    try_template = "admin/prompts/run.html"
    empty_title = _("No prompt templates yet")
    empty_text = _("A prompt template holds the instructions that a model gets.")

    def variants_to_try(self, obj: Any) -> list[Any]:
        return list(obj.variants.select_related("model").order_by("-is_active", "-number"))

    def try_context(self, obj: Any, variants: list[Any]) -> dict[str, Any]:
        """Messages and variables of each, for the fields and the preview."""
        prompts = {
            str(one.number): {
                "messages": one.messages,
                "examples": one.examples,
                "variables": list(specs_of(one.messages, one.variables).values()),
            }
            for one in variants
        }
        return {"prompts": prompts}

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> PromptTemplate:
        own = {name: value for name, value in values.items() if name != "messages"}
        return prompt_create(principal=principal, values=own, variant={"messages": values["messages"]})

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return prompt_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        prompt_delete(obj, principal=principal)


class PromptVariantForm(WorkspaceForm):
    messages = RowsField(widget=MessagesWidget, label=_("Messages"), help_text=MESSAGES_HELP)
    variables = RowsField(widget=VariablesWidget, label=_("Variables"), required=False, help_text=VARIABLES_HELP)
    examples = RowsField(widget=ExamplesWidget, label=_("Examples"), required=False, help_text=EXAMPLES_HELP)

    class Meta:
        model = PromptVariant
        fields = (
            "note", "messages", "variables", "examples", "response_format", "output_schema",
            "model", "temperature", "top_p", "max_tokens", "observability_level",
        )  # fmt: skip

    def clean_output_schema(self) -> Any:
        """An empty field is an empty schema."""
        return self.cleaned_data["output_schema"] or {}


@admin.register(PromptVariant)
class PromptVariantAdmin(VariantAdmin):
    """The messages and the model's settings."""

    form = PromptVariantForm
    settings_fields = ("model", "temperature", "top_p", "max_tokens")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        text = "messages" if self.has_change_permission(request, obj) else "messages_text"
        return [
            (None, {"fields": ["note", text, "variables", "examples"]}),
            (_("Answer"), {"fields": ["response_format", "output_schema"]}),
            (_("Model settings"), {"fields": list(self.settings_fields)}),
            (_("What is kept"), {"fields": ["observability_level"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("messages_text",)

    def choices_for(self, db_field: Any, request: HttpRequest) -> Any:
        rows = super().choices_for(db_field, request)
        if db_field.name != "model":
            return rows
        return rows.filter(kind=ModelKind.CHAT, is_active=True).exclude(provider__type=ProviderType.LOCAL)

    @display(description=_("Messages"))
    def messages_text(self, obj: PromptVariant) -> SafeString:
        return render_to_string("admin/prompts/messages_read.html", {"messages": obj.messages})
