"""What the API shows and takes of prompt templates."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api.serializers import (
    CONFIGURATION_FIELDS,
    CONFIGURATION_READ_ONLY,
    VARIANT_FIELDS,
    VARIANT_READ_ONLY,
    ScopedRelatedField,
    VariantReference,
)
from llm.models import Model
from plugins.contracts import MessageRole
from prompts.models import PromptTemplate, PromptVariant

MAX_MESSAGES = 50
MAX_CHARS = 100_000


class PromptMessageSerializer(serializers.Serializer[Any]):
    """A message; `{{ name }}` in its content is replaced by a variable, never evaluated."""

    role = serializers.ChoiceField(choices=[role.value for role in MessageRole])
    content = serializers.CharField(max_length=MAX_CHARS, trim_whitespace=False, allow_blank=True)


class PromptVariantSerializer(serializers.ModelSerializer[PromptVariant]):
    messages = PromptMessageSerializer(many=True, allow_empty=False, max_length=MAX_MESSAGES)  # type: ignore[call-arg]  # of the list
    model = ScopedRelatedField(model=Model, required=False, allow_null=True, help_text="Id or slug of a chat model.")
    variables = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Names of the placeholders, in order of appearance."
    )

    class Meta:
        model = PromptVariant
        fields = (*VARIANT_FIELDS, "messages", "variables", "model", "temperature", "top_p", "max_tokens")
        read_only_fields = VARIANT_READ_ONLY


class PromptTemplateSerializer(serializers.ModelSerializer[PromptTemplate]):
    """A prompt template with its active and its newest variant in short."""

    variant = PromptVariantSerializer(write_only=True, help_text="The first draft; changed by its own endpoint later.")
    active_variant = serializers.SerializerMethodField()
    latest_variant = serializers.SerializerMethodField()

    class Meta:
        model = PromptTemplate
        fields = (*CONFIGURATION_FIELDS, "category", "active_variant", "latest_variant", "variant")
        read_only_fields = CONFIGURATION_READ_ONLY

    @extend_schema_field(VariantReference(allow_null=True))
    def get_active_variant(self, template: PromptTemplate) -> dict[str, Any] | None:
        active = next((variant for variant in template.variants.all() if variant.is_active), None)
        return VariantReference(active).data if active else None

    @extend_schema_field(VariantReference(allow_null=True))
    def get_latest_variant(self, template: PromptTemplate) -> dict[str, Any] | None:
        latest = max(template.variants.all(), key=lambda variant: variant.number, default=None)
        return VariantReference(latest).data if latest else None
