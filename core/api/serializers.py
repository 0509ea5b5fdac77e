"""Serializer bases: relations never reach into another workspace."""

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q, QuerySet, Value
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.ids import as_stored, is_uuid
from core.models import ConfigurationModel, WorkspaceScopedModel

MAX_REFERENCES = 500
CONFIGURATION_FIELDS = ("id", "name", "slug", "description", "version", "created_at", "updated_at")
CONFIGURATION_READ_ONLY = ("id", "version", "created_at", "updated_at")


class ManyReferences(serializers.ManyRelatedField):
    """A list of references, found by one query; named twice is named once."""

    default_error_messages: ClassVar[dict[str, Any]] = {"max_length": "At most {max_length} of them."}
    child_relation: "RowReference"

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list | tuple):
            self.fail("not_a_list", input_type=type(data).__name__)
        if len(data) > MAX_REFERENCES:
            self.fail("max_length", max_length=MAX_REFERENCES)
        return self.child_relation.find([str(one) for one in data])


@extend_schema_field(OpenApiTypes.STR)
class RowReference(serializers.RelatedField[Any, Any, Any]):
    """A row of the caller's workspace, by id or name; shown as the id. Subclasses say which rows, and their names."""

    default_error_messages: ClassVar[dict[str, Any]] = {"does_not_exist": "There is no {name} '{reference}' here."}

    @classmethod
    def many_init(cls, *args: Any, **options: Any) -> ManyReferences:
        own = ("default", "help_text", "label", "read_only", "required", "source", "write_only")
        of_list = {name: options[name] for name in own if name in options}
        of_row = {name: value for name, value in options.items() if name not in own or name == "read_only"}
        return ManyReferences(child_relation=cls(*args, **of_row), **of_list)

    @property
    def kind(self) -> str:
        """What such a row is called in an error."""
        return str(self.rows().model._meta.verbose_name)

    def use_pk_only_optimization(self) -> bool:
        return True

    def rows(self) -> QuerySet[Any]:
        """The caller's rows, each with its name as `reference`, if it has one."""
        raise NotImplementedError

    @staticmethod
    def key(reference: str) -> str:
        """The reference as it is compared with ids and names."""
        return as_stored(reference)

    def find(self, references: Sequence[str]) -> list[Any]:
        """The rows in the order of their references. Fails with the first that is none."""
        keys = [self.key(one) for one in references]
        ids = {one for one in keys if is_uuid(one)}
        names = {one for one in keys if one not in ids and "\x00" not in one}
        found = self.rows().filter(Q(pk__in=ids) | Q(reference__in=names) if names else Q(pk__in=ids))
        known = {key: row for row in found for key in (str(row.pk), row.reference)}
        for key, one in zip(keys, references, strict=True):
            if key not in known:
                self.fail("does_not_exist", name=self.kind, reference=one[:100])
        return list(dict.fromkeys(known[key] for key in keys))

    def to_internal_value(self, data: Any) -> Any:
        return self.find([str(data)])[0]

    def to_representation(self, value: Any) -> str:
        return str(value.pk)


class ScopedRelatedField(RowReference):
    """A reference to a row of the caller's workspace, by id or slug."""

    def __init__(self, *, model: type[WorkspaceScopedModel], **options: Any) -> None:
        self.model = model
        if not options.get("read_only"):
            options["queryset"] = model.objects.none()
        super().__init__(**options)

    def rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model.objects.for_workspace(self.context["view"].principal.workspace_id)
        named = issubclass(self.model, ConfigurationModel)
        named_rows: QuerySet[Any] = rows.annotate(reference=F("slug") if named else Value(None, models.TextField()))
        return named_rows


class VariantReference(serializers.Serializer[Any]):
    """A variant in short, inside its object."""

    number = serializers.IntegerField(read_only=True)
    status = serializers.CharField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)


class NumberField(serializers.FloatField):
    """A number that `true` and `false` are none of; DRF's own reads them as 1 and 0."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class IdField(serializers.UUIDField):
    """The id of a row, as text; DRF's own reads 7, and even `false`, as one."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class VariantSerializer(serializers.ModelSerializer[Any]):
    """One configuration of its object, frozen once it is published."""

    serializer_field_mapping: ClassVar[Any] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.FloatField: NumberField,
    }


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
