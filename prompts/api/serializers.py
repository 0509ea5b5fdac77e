"""What the API shows and takes of prompt templates."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.sharing import SharedSerializer
from accounts.sharing import SHARING_FIELDS
from core.api.serializers import (
    CONFIGURATION_FIELDS,
    CONFIGURATION_READ_ONLY,
    VARIANT_FIELDS,
    VARIANT_READ_ONLY,
    ScopedRelatedField,
    VariantReference,
    VariantSerializer,
)
from llm.models import Model
from observability.api.serializers import RunAnswer, TurnSerializer
from plugins.contracts import SPOKEN_ROLES
from prompts.models import PromptTemplate, PromptVariant
from prompts.rendering import VariableType

MAX_MESSAGES = 50
MAX_CHARS = 100_000
MAX_INPUT_CHARS = 20_000
MAX_VARIABLES = 50
MAX_EXAMPLES = 20
MAX_TURNS = 100
MAX_VARIABLES_CHARS = 1_000_000  # of all values together, which is more than a model reads


class PromptMessageSerializer(serializers.Serializer[Any]):
    """A message; `{{ name }}` in its content is replaced by a variable, never evaluated."""

    role = serializers.ChoiceField(choices=[role.value for role in SPOKEN_ROLES])
    content = serializers.CharField(max_length=MAX_CHARS, trim_whitespace=False, allow_blank=True)


class PromptVariableSerializer(serializers.Serializer[Any]):
    """What a placeholder takes. One that is not declared takes a required text."""

    name = serializers.CharField(max_length=50)
    type = serializers.ChoiceField(choices=[kind.value for kind in VariableType], default=VariableType.TEXT.value)
    required = serializers.BooleanField(default=True)  # type: ignore[assignment]  # a field's name, no attribute
    default = serializers.JSONField(default=None, allow_null=True, help_text="Of the variable's type.")
    sample = serializers.JSONField(
        default=None, allow_null=True, help_text="Of the variable's type; pages offer it to try the prompt with."
    )
    description = serializers.CharField(max_length=300, default="", allow_blank=True)


class PromptExampleSerializer(serializers.Serializer[Any]):
    """What somebody might say, and the answer that is wanted."""

    input = serializers.CharField(max_length=MAX_INPUT_CHARS, trim_whitespace=False)
    output = serializers.CharField(max_length=MAX_INPUT_CHARS, trim_whitespace=False)


class PromptVariantSerializer(VariantSerializer):
    messages = PromptMessageSerializer(many=True, allow_empty=False, max_length=MAX_MESSAGES)  # type: ignore[call-arg]  # of the list
    model = ScopedRelatedField(model=Model, required=False, allow_null=True, help_text="Id or slug of a chat model.")
    placeholders = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Their names, in order of appearance."
    )
    variables = PromptVariableSerializer(many=True, required=False, max_length=MAX_VARIABLES)  # type: ignore[call-arg]  # of the list
    examples = PromptExampleSerializer(many=True, required=False, max_length=MAX_EXAMPLES)  # type: ignore[call-arg]  # of the list
    output_schema = serializers.DictField(required=False, help_text="JSON Schema 2020-12, for `json_schema`.")

    class Meta:
        model = PromptVariant
        fields = (
            *VARIANT_FIELDS, "messages", "placeholders", "variables", "examples", "response_format", "output_schema",
            "model", "temperature", "top_p", "max_tokens", "observability_level",
        )  # fmt: skip
        read_only_fields = VARIANT_READ_ONLY


class PromptTemplateSerializer(SharedSerializer):
    """A prompt template with its active and its newest variant in short."""

    variant = PromptVariantSerializer(write_only=True, help_text="The first draft; changed by its own endpoint later.")
    active_variant = serializers.SerializerMethodField()
    latest_variant = serializers.SerializerMethodField()

    class Meta(SharedSerializer.Meta):
        model = PromptTemplate
        fields = (*CONFIGURATION_FIELDS, "category", *SHARING_FIELDS, "active_variant", "latest_variant", "variant")
        read_only_fields = CONFIGURATION_READ_ONLY

    @extend_schema_field(VariantReference(allow_null=True))
    def get_active_variant(self, template: PromptTemplate) -> dict[str, Any] | None:
        active = next((variant for variant in template.variants.all() if variant.is_active), None)
        return VariantReference(active).data if active else None

    @extend_schema_field(VariantReference(allow_null=True))
    def get_latest_variant(self, template: PromptTemplate) -> dict[str, Any] | None:
        latest = max(template.variants.all(), key=lambda variant: variant.number, default=None)
        return VariantReference(latest).data if latest else None


class PromptRunRequest(serializers.Serializer[Any]):
    variables = serializers.DictField(
        required=False, default=dict, help_text="Values by name; what the active variant declares."
    )
    messages = serializers.ListField(
        child=TurnSerializer(), required=False, max_length=MAX_TURNS, help_text="What was said after the prompt."
    )
    variant = serializers.IntegerField(min_value=1, required=False, allow_null=True)
    stream = serializers.BooleanField(required=False, default=False)

    def validate_variables(self, given: dict[str, Any]) -> dict[str, Any]:
        if sum(len(str(value)) for value in given.values()) > MAX_VARIABLES_CHARS:
            raise serializers.ValidationError(
                f"The values hold more than {MAX_VARIABLES_CHARS:,} characters.", code="max_length"
            )
        return given


class PromptAnswer(RunAnswer):
    """The answer of a prompt template."""

    output = serializers.JSONField(allow_null=True, help_text="The parsed content of a JSON format.")
    repaired = serializers.BooleanField(help_text="The first answer did not fit, and the model was asked again.")
    citations = serializers.ListField(child=serializers.DictField(), help_text="Always empty: nothing is retrieved.")
