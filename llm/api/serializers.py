"""What the API shows and takes of providers and models. Keys go in and never come out."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api.serializers import CONFIGURATION_FIELDS, CONFIGURATION_READ_ONLY, ScopedRelatedField
from llm import breaker
from llm.breaker import BreakerState, Standing
from llm.catalogue import CAPABILITIES
from llm.drafting import DraftState
from llm.models import Model, ModelPrice, Provider
from llm.selectors import header_names


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

    secret = serializers.CharField(
        max_length=16_384,
        required=False,
        allow_blank=True,
        write_only=True,
        style={"input_type": "password"},
        help_text="AWS' secret access key, or Google's service account as JSON; kept and cleared like the key.",
    )
    has_secret = serializers.SerializerMethodField(help_text="Whether a second secret is stored.")
    headers = serializers.DictField(
        child=serializers.CharField(max_length=2000),
        required=False,
        write_only=True,
        help_text="Sent with each request; stored encrypted, never shown. Replaces those that are stored.",
    )
    header_names = serializers.SerializerMethodField(help_text="Names of the stored extra headers.")

    class Meta:
        model = Provider
        fields = (
            *CONFIGURATION_FIELDS, "type", "base_url", "api_key", "has_api_key", "key_refused_at", "secret",
            "has_secret", "headers", "header_names", "access_key_id", "region", "project", "api_version", "is_active",
        )  # fmt: skip
        read_only_fields = (*CONFIGURATION_READ_ONLY, "key_refused_at")

    def get_has_api_key(self, provider: Provider) -> bool:
        return bool(provider.api_key)

    def get_has_secret(self, provider: Provider) -> bool:
        return bool(provider.secret)

    def get_header_names(self, provider: Provider) -> list[str]:
        return header_names(provider)


class BreakerSerializer(serializers.Serializer[Any]):
    """The state of a model's circuit breaker."""

    state = serializers.ChoiceField(choices=[one.value for one in BreakerState], help_text="`open`: not called.")
    failures = serializers.IntegerField(help_text="Since the last call that worked.")
    kind = serializers.CharField(help_text="Of the last failure, such as `timeout` or `unauthorized`.")
    seconds = serializers.FloatField(help_text="Until one call is let through to try.")


class ModelSerializer(serializers.ModelSerializer[Model]):
    """A model of a provider. What is left out is filled in for models that the platform knows."""

    provider = ScopedRelatedField(model=Provider, help_text="Id or slug.")
    fallback = ScopedRelatedField(
        model=Model,
        required=False,
        allow_null=True,
        help_text="Id or slug of the model that is asked when this one fails before its first word.",
    )
    breaker = serializers.SerializerMethodField(help_text="Whether the model is left alone after failures in a row.")
    _breakers: Mapping[Any, Standing] = {}  # replaced, never written to

    class Meta:
        model = Model
        fields = (
            *CONFIGURATION_FIELDS, "provider", "kind", "identifier", "dimensions", "shortens", "max_input_tokens",
            "timeout_seconds", "requests_per_minute", "tokens_per_minute", "fallback", "cache_seconds", *CAPABILITIES,
            "is_active", "is_default", "breaker",
        )  # fmt: skip
        read_only_fields = CONFIGURATION_READ_ONLY

    @extend_schema_field(BreakerSerializer)
    def get_breaker(self, model: Model) -> dict[str, Any]:
        """Those of a whole list are asked for at once."""
        if model.pk not in self._breakers:
            rows: Any = self.parent.instance if isinstance(self.parent, serializers.ListSerializer) else [model]
            self._breakers = breaker.standings(rows)
        return dict(BreakerSerializer(self._breakers[model.pk]).data)


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


class AvailableModelSerializer(serializers.Serializer[Any]):
    """A model that a provider offers, and what the vendor or the catalogue knows of it."""

    identifier = serializers.CharField(help_text="As `identifier` of a model takes it.")
    kind = serializers.CharField(help_text="chat, embedding or rerank; empty where the vendor does not say.")
    title = serializers.CharField(help_text="The vendor's name for people, where it has one.")
    max_input_tokens = serializers.IntegerField(allow_null=True, help_text="Tokens that it reads, where known.")
    dimensions = serializers.IntegerField(allow_null=True, help_text="Of an embedding model, where known.")
    capabilities = serializers.DictField(
        child=serializers.BooleanField(),
        help_text="By the names that a model has for them (`tool_calling`, `vision` …); only those that are known.",
    )
    model = serializers.CharField(help_text="The slug of the model here that is this one already, else empty.")


class AvailableModelsSerializer(serializers.Serializer[Any]):
    """All that the vendor lists, on one page."""

    results = AvailableModelSerializer(many=True)


class ToolDraftSerializer(serializers.Serializer[Any]):
    """A tool that could answer with a model."""

    kind = serializers.CharField(help_text="rag_tool or prompt_template.")
    id = serializers.UUIDField(source="tool.pk", help_text="Of the tool.")
    slug = serializers.CharField(source="tool.slug")
    name = serializers.CharField(source="tool.name")
    state = serializers.ChoiceField(
        choices=[one.value for one in DraftState],
        help_text="`none`: a draft can be made; `created`: just now; `exists`: a draft with this model is there; "
        "`other`: another draft is there, and stays as it is.",
    )
    variant = serializers.IntegerField(source="number", allow_null=True, help_text="Number of the draft.")


class ToolDraftsSerializer(serializers.Serializer[Any]):
    """All tools that have the local chat model or none."""

    results = ToolDraftSerializer(many=True)


class OllamaSerializer(serializers.Serializer[Any]):
    """What connecting an Ollama made, or found from the time before."""

    provider = serializers.CharField(source="provider.slug", help_text="Its slug.")
    models = serializers.ListField(child=serializers.CharField(), source="model_slugs", help_text="Their slugs.")
    drafts = ToolDraftSerializer(many=True, help_text="Of the tools that have the local chat model or none.")
