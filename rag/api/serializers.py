"""What the API shows and takes of retrieval tools, RAG tools and their runs."""

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
from core.models import ConfigurationModel
from knowledge.models import KnowledgeSource
from llm.models import Model
from observability.api.serializers import RunAnswer, TurnSerializer
from observability.choices import RunStatus
from prompts.models import PromptTemplate
from rag.answering.engine import MAX_QUESTION_CHARS
from rag.models import MAX_TOP_K, RagTool, RagVariant, RetrievalTool, RetrievalVariant

MAX_HISTORY = 100


class RetrievalVariantSerializer(VariantSerializer):
    sources = ScopedRelatedField(model=KnowledgeSource, many=True, help_text="Ids or slugs.")
    rerank_model = ScopedRelatedField(
        model=Model, required=False, allow_null=True, help_text="Id or slug of a rerank model; null: none."
    )

    class Meta:
        model = RetrievalVariant
        fields = (
            *VARIANT_FIELDS, "sources", "mode", "top_k", "candidates", "dense_weight", "similarity_threshold",
            "rerank_model", "rerank_top_n", "neighbours", "observability_level",
        )  # fmt: skip
        read_only_fields = VARIANT_READ_ONLY


class RagVariantSerializer(VariantSerializer):
    retrieval_tool = ScopedRelatedField(model=RetrievalTool, help_text="Id or slug.")
    prompt = ScopedRelatedField(model=PromptTemplate, help_text="Id or slug.")
    model = ScopedRelatedField(
        model=Model, required=False, help_text="Id or slug of a chat model; left out: the workspace's default."
    )

    class Meta:
        model = RagVariant
        fields = (
            *VARIANT_FIELDS, "retrieval_tool", "retrieval_variant", "prompt", "prompt_variant", "model",
            "observability_level",
        )  # fmt: skip
        read_only_fields = VARIANT_READ_ONLY


class _ToolSerializer(SharedSerializer):
    """A tool with its active and its newest variant in short."""

    active_variant = serializers.SerializerMethodField()
    latest_variant = serializers.SerializerMethodField()

    def _newest(self, tool: ConfigurationModel) -> list[Any]:
        return sorted(tool.variants.all(), key=lambda variant: -variant.number)  # type: ignore[attr-defined]

    @extend_schema_field(VariantReference(allow_null=True))
    def get_active_variant(self, tool: ConfigurationModel) -> dict[str, Any] | None:
        active = next((variant for variant in self._newest(tool) if variant.is_active), None)
        return VariantReference(active).data if active else None

    @extend_schema_field(VariantReference(allow_null=True))
    def get_latest_variant(self, tool: ConfigurationModel) -> dict[str, Any] | None:
        newest = self._newest(tool)
        return VariantReference(newest[0]).data if newest else None


class RetrievalToolSerializer(_ToolSerializer):
    variant = RetrievalVariantSerializer(write_only=True, required=False, help_text="The first draft's settings.")

    class Meta(SharedSerializer.Meta):
        model = RetrievalTool
        fields = (*CONFIGURATION_FIELDS, *SHARING_FIELDS, "active_variant", "latest_variant", "variant")
        read_only_fields = CONFIGURATION_READ_ONLY


class RagToolSerializer(_ToolSerializer):
    variant = RagVariantSerializer(write_only=True, required=False, help_text="The first draft's settings.")

    class Meta(SharedSerializer.Meta):
        model = RagTool
        fields = (
            *CONFIGURATION_FIELDS, "header", "sample_questions", *SHARING_FIELDS, "active_variant", "latest_variant",
            "variant",
        )  # fmt: skip
        read_only_fields = CONFIGURATION_READ_ONLY


class SearchRequest(serializers.Serializer[Any]):
    query = serializers.CharField(max_length=MAX_QUESTION_CHARS)
    top_k = serializers.IntegerField(min_value=1, max_value=MAX_TOP_K, required=False)
    filters = serializers.DictField(required=False, allow_null=True, help_text='`{"and": [{"field", "op", "value"}]}`')
    variant = serializers.IntegerField(min_value=1, required=False, allow_null=True)
    stream = serializers.BooleanField(required=False, default=False)


class QueryRequest(serializers.Serializer[Any]):
    question = serializers.CharField(max_length=MAX_QUESTION_CHARS)
    history = serializers.ListField(child=TurnSerializer(), required=False, max_length=MAX_HISTORY)
    filters = serializers.DictField(required=False, allow_null=True, help_text='`{"and": [{"field", "op", "value"}]}`')
    variant = serializers.IntegerField(min_value=1, required=False, allow_null=True)
    stream = serializers.BooleanField(required=False, default=False)


class PassageSerializer(serializers.Serializer[Any]):
    """A found passage. Scores are 0 to 1; ranks start at 1 and are null where that search missed it."""

    marker = serializers.IntegerField(required=False)
    chunk_id = serializers.UUIDField()
    document_id = serializers.UUIDField()
    source_id = serializers.UUIDField()
    title = serializers.CharField()
    url = serializers.CharField(allow_blank=True)
    text = serializers.CharField()
    page = serializers.IntegerField(allow_null=True)
    heading_path = serializers.ListField(child=serializers.CharField())
    char_start = serializers.IntegerField()
    char_end = serializers.IntegerField()
    score = serializers.FloatField()
    dense_score = serializers.FloatField(allow_null=True)
    dense_rank = serializers.IntegerField(allow_null=True)
    lexical_score = serializers.FloatField(allow_null=True)
    lexical_rank = serializers.IntegerField(allow_null=True)
    rerank_score = serializers.FloatField(allow_null=True)


class SearchAnswer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The run.")
    kind = serializers.CharField()
    status = serializers.ChoiceField(choices=RunStatus.values)
    finish_reason = serializers.CharField(allow_null=True)
    conversation_id = serializers.UUIDField(allow_null=True)
    message_id = serializers.UUIDField(allow_null=True)
    duration_ms = serializers.IntegerField()
    results = PassageSerializer(many=True)
    degraded = serializers.ListField(child=serializers.CharField(), help_text="What was down: `dense`, `rerank`.")
    timings = serializers.DictField(child=serializers.FloatField(), help_text="Milliseconds by stage.")
    variant = serializers.IntegerField()
    trace_id = serializers.UUIDField(allow_null=True)


class CitationSerializer(serializers.Serializer[Any]):
    marker = serializers.IntegerField()
    document_id = serializers.UUIDField()
    chunk_id = serializers.UUIDField()
    title = serializers.CharField()
    url = serializers.CharField(allow_blank=True)
    page = serializers.IntegerField(allow_null=True)
    heading_path = serializers.ListField(child=serializers.CharField())
    quote = serializers.CharField()
    char_start = serializers.IntegerField()
    char_end = serializers.IntegerField()
    support = serializers.FloatField()
    verified = serializers.BooleanField()
    source_status = serializers.ChoiceField(choices=["current", "changed", "deleted"])


class TextSpan(serializers.Serializer[Any]):
    start = serializers.IntegerField()
    end = serializers.IntegerField()


class AnswerSerializer(RunAnswer):
    """The answer of a RAG tool, the same in JSON and in the last event of a stream."""

    citations = CitationSerializer(many=True)
    unsupported = TextSpan(many=True, help_text="Sentences of the content that no citation supports.")
    dropped_markers = serializers.IntegerField(help_text="Markers that named no passage and were removed.")
    retrieved = PassageSerializer(many=True)
    resolution = serializers.ChoiceField(choices=["answered", "not_answered", "no_results"])
    timings = serializers.DictField(child=serializers.FloatField())
