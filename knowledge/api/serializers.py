"""What the API shows and takes of sources, documents and passages."""

from typing import Any

from rest_framework import serializers

from core.api.serializers import CONFIGURATION_FIELDS, CONFIGURATION_READ_ONLY, ScopedRelatedField
from knowledge.models import Chunk, Document, KnowledgeSource
from knowledge.schemas import storable
from llm.models import Model

MAX_TEXT = 5_000_000
MAX_METADATA = 50


class KnowledgeSourceSerializer(serializers.ModelSerializer[KnowledgeSource]):
    embedding_model = ScopedRelatedField(
        model=Model, required=False, help_text="Id or slug; left out: the workspace's default. Fixed with documents."
    )
    documents = serializers.SerializerMethodField(help_text="How many documents are in each state.")

    class Meta:
        model = KnowledgeSource
        fields = (*CONFIGURATION_FIELDS, "connector", "embedding_model", "chunking", "filter_fields", "documents")
        read_only_fields = (*CONFIGURATION_READ_ONLY, "connector")

    def get_documents(self, source: KnowledgeSource) -> dict[str, int]:
        names = ("pending", "processing", "ready", "failed")
        return {name: getattr(source, f"{name}_count", 0) for name in names}


class DocumentSerializer(serializers.ModelSerializer[Document]):
    source = serializers.CharField(source="source.slug", read_only=True)  # type: ignore[assignment]  # the API's name
    url = serializers.CharField(read_only=True, help_text="Where the original is; empty when it has no address.")

    class Meta:
        model = Document
        fields = (
            "id", "source", "external_id", "title", "url", "filename", "media_type", "size", "checksum", "status",
            "reason_code", "reason", "attempts", "chunk_count", "metadata", "created_at", "updated_at", "ready_at",
        )  # fmt: skip
        read_only_fields = fields


class TextUpload(serializers.Serializer[Any]):
    """A document as JSON."""

    title = serializers.CharField(max_length=500)
    text = serializers.CharField(max_length=MAX_TEXT, trim_whitespace=False)
    external_id = serializers.CharField(max_length=500, required=False)
    url = serializers.URLField(max_length=2000, required=False, default="")
    metadata = serializers.DictField(required=False, default=dict)

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        return checked_metadata(value)


class FileUpload(serializers.Serializer[Any]):
    """A document as a multipart form; `metadata` is a JSON object as text. A field that is left empty is left out."""

    file = serializers.FileField(allow_empty_file=True)
    title = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    external_id = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    url = serializers.URLField(max_length=2000, required=False, default="", allow_blank=True)
    metadata = serializers.JSONField(required=False, default=dict)

    def validate_metadata(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise serializers.ValidationError("A JSON object.")
        return checked_metadata(value)


def checked_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Flat values under short names, so that they can be filtered by and stay small."""
    if len(value) > MAX_METADATA:
        raise serializers.ValidationError(f"At most {MAX_METADATA} fields.")
    for name, one in value.items():
        if len(name) > 63 or storable(name) != name:
            raise serializers.ValidationError("Names of fields have at most 63 characters, without NUL.")
        if not isinstance(one, str | int | float | bool | type(None)):
            raise serializers.ValidationError(f"{name}: a text, number, true, false or null.")
        if isinstance(one, str) and (len(one) > 2000 or storable(one) != one):
            raise serializers.ValidationError(f"{name}: at most 2,000 characters, without NUL.")
    return value


class AcceptedSerializer(serializers.Serializer[Any]):
    """What an upload answers. job_id is null when the same content is there already."""

    job_id = serializers.UUIDField(allow_null=True)
    document_id = serializers.UUIDField()
    status = serializers.CharField()


class DocumentTextSerializer(serializers.Serializer[Any]):
    """The text into which offsets point."""

    text = serializers.CharField()
    length = serializers.IntegerField(help_text="Code points.")


class ChunkSerializer(serializers.ModelSerializer[Chunk]):
    class Meta:
        model = Chunk
        fields = ("id", "ordinal", "text", "heading_path", "page", "char_start", "char_end")
        read_only_fields = fields


class ForecastSerializer(serializers.Serializer[Any]):
    """What it would cost to embed all passages of a source anew."""

    model = serializers.CharField(help_text="Slug of the embedding model.")
    documents = serializers.IntegerField()
    tokens = serializers.IntegerField(help_text="Estimated on the safe side.")
    cost = serializers.DecimalField(
        max_digits=20, decimal_places=8, allow_null=True, help_text="By the price of now; null where there is none."
    )
    currency = serializers.CharField()
    over_budget = serializers.CharField(allow_blank=True, help_text="Which budget has too little left; empty: none.")
