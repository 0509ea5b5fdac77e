"""Serializer bases: relations never reach into another workspace."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.models import ConfigurationModel, WorkspaceScopedModel

CONFIGURATION_FIELDS = ("id", "name", "slug", "description", "version", "created_at", "updated_at")
CONFIGURATION_READ_ONLY = ("id", "version", "created_at", "updated_at")


@extend_schema_field(OpenApiTypes.STR)
class ScopedRelatedField(serializers.RelatedField[Any, Any, Any]):
    """A reference to a row of the caller's workspace, by id or slug; shown as the id."""

    default_error_messages: ClassVar[dict[str, Any]] = {"does_not_exist": "There is no {name} '{reference}' here."}

    def __init__(self, *, model: type[WorkspaceScopedModel], **options: Any) -> None:
        self.model = model
        if not options.get("read_only"):
            options["queryset"] = model.objects.none()
        super().__init__(**options)

    def use_pk_only_optimization(self) -> bool:
        return True

    def to_internal_value(self, data: Any) -> Any:
        from core.ids import is_uuid

        reference = str(data)
        rows = self.model.objects.for_workspace(self.context["view"].principal.workspace_id)
        if is_uuid(reference):
            found = rows.filter(pk=reference).first()
        else:
            found = rows.filter(slug=reference).first() if issubclass(self.model, ConfigurationModel) else None
        if found is None:
            self.fail("does_not_exist", name=self.model._meta.verbose_name, reference=reference[:100])
        return found

    def to_representation(self, value: Any) -> str:
        return str(value.pk)


class VariantReference(serializers.Serializer[Any]):
    """A variant in short, inside its object."""

    number = serializers.IntegerField(read_only=True)
    status = serializers.CharField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)


VARIANT_FIELDS = (
    "id", "number", "status", "is_active", "note", "version", "created_at", "updated_at", "published_at",
)  # fmt: skip
VARIANT_READ_ONLY = tuple(name for name in VARIANT_FIELDS if name != "note")


class FieldChangeSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class DiffSerializer(serializers.Serializer[Any]):
    """What differs between two variants."""

    a = serializers.IntegerField()
    b = serializers.IntegerField()
    changes = FieldChangeSerializer(many=True)
