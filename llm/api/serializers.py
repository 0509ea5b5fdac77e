"""What the API shows and takes of providers and models. Keys go in and never come out."""

from typing import Any

from rest_framework import serializers

from core.api.serializers import CONFIGURATION_FIELDS, CONFIGURATION_READ_ONLY, ScopedRelatedField
from llm.models import Model, ModelPrice, Provider


class ProviderSerializer(serializers.ModelSerializer[Provider]):
    """A vendor's endpoint."""

    base_url = serializers.CharField(
        max_length=500, required=False, allow_blank=True, help_text="Another one clears the key."
    )
    api_key = serializers.CharField(
        max_length=4096,
        required=False,
        allow_blank=True,
        write_only=True,
        style={"input_type": "password"},
        help_text="Stored encrypted, never shown. Empty: cleared. Left out: kept.",
    )
    has_api_key = serializers.SerializerMethodField(help_text="Whether a key is stored.")

    class Meta:
        model = Provider
        fields = (*CONFIGURATION_FIELDS, "type", "base_url", "api_key", "has_api_key", "is_active")
        read_only_fields = CONFIGURATION_READ_ONLY

    def get_has_api_key(self, provider: Provider) -> bool:
        return bool(provider.api_key)


class ModelSerializer(serializers.ModelSerializer[Model]):
    """A model of a provider. What is left out is filled in for models that the platform knows."""

    provider = ScopedRelatedField(model=Provider, help_text="Id or slug.")

    class Meta:
        model = Model
        fields = (
            *CONFIGURATION_FIELDS, "provider", "kind", "identifier", "dimensions", "shortens", "max_input_tokens",
            "timeout_seconds", "is_active", "is_default",
        )  # fmt: skip
        read_only_fields = CONFIGURATION_READ_ONLY


class ModelPriceSerializer(serializers.ModelSerializer[ModelPrice]):
    """What 1,000,000 tokens cost from `valid_from` on. Amounts are decimal texts."""

    currency = serializers.RegexField(
        r"^[A-Z]{3}\Z", max_length=3, required=False, help_text="ISO 4217, such as USD, which is the default."
    )
    valid_from = serializers.DateTimeField(required=False, help_text="Left out: now.")

    class Meta:
        model = ModelPrice
        fields = (
            "id", "input", "cached_input", "output", "reasoning", "currency", "valid_from", "source", "note",
            "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "source", "created_at")


class TrialSerializer(serializers.Serializer[Any]):
    """What one small call of a model brought back."""

    duration_ms = serializers.FloatField()
    model = serializers.CharField(source="replied", help_text="The model that replied, as the vendor names it.")
    text = serializers.CharField(help_text="Of a chat model.")
    dimensions = serializers.IntegerField(allow_null=True, help_text="Of an embedding model.")
