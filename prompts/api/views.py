"""Prompt templates and their variants."""

from typing import Any

from accounts.api.sharing import HidesUnshared
from core.access import Permission, Principal
from core.api.variants import VariantViewSet
from core.api.views import ConfigurationViewSet
from prompts.api.examples import PROMPT_TEMPLATES, PROMPT_VARIANTS
from prompts.api.serializers import PromptTemplateSerializer, PromptVariantSerializer
from prompts.models import PromptTemplate, PromptVariant
from prompts.selectors import prompts_to_run
from prompts.services import prompt_create, prompt_delete, prompt_update


class PromptTemplateViewSet(HidesUnshared, ConfigurationViewSet):
    """Instructions with variables."""

    examples = PROMPT_TEMPLATES
    model = shared_model = PromptTemplate
    permissions = {"list": Permission.READ_OWN, "retrieve": Permission.READ_OWN}
    serializer_class = PromptTemplateSerializer
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "description")
    filterset_fields = {"slug": ["exact", "in"], "category": ["exact"], "updated_at": ["gte", "lte"]}

    def queryset_for(self, principal: Principal) -> Any:
        return prompts_to_run(principal).prefetch_related("variants", "shares__member", "shares__group")

    def create_object(self, data: dict[str, Any]) -> PromptTemplate:
        variant = data.pop("variant")
        return prompt_create(principal=self.principal, values=data, variant=variant)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> PromptTemplate:
        return prompt_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        prompt_delete(instance, principal=self.principal)


class PromptVariantViewSet(HidesUnshared, VariantViewSet):
    """Variants of a prompt template."""

    examples = PROMPT_VARIANTS
    model = PromptVariant
    parent_model = shared_model = PromptTemplate
    serializer_class = PromptVariantSerializer
