"""The endpoints of variants, the same for every kind of object that has them."""

from dataclasses import asdict
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.serializers import DiffSerializer
from core.api.views import ListRetrieve, find
from core.exceptions import NotFound
from core.models import ConfigurationModel
from core.sharing import SharedModel, visible_to
from core.variant_services import (
    variant_activate,
    variant_create_draft,
    variant_diff,
    variant_edit,
    variant_publish,
)
from core.variants import Variant

NUMBER = OpenApiParameter("n", int, OpenApiParameter.PATH, description="The variant's number.")


class VariantViewSet(ListRetrieve):
    """Subclasses name the variant `model`, the `parent_model` and the serializer."""

    parent_model: ClassVar[type[ConfigurationModel]]
    preconditions = {"partial_update": True, "publish": False}
    ordering = ("-number", "id")
    ordering_fields = ("number", "created_at", "updated_at")
    filterset_fields = {"status": ["exact"], "is_active": ["exact"]}

    def described_form(self, action: str) -> Any:
        """The form of a new draft for the description: nothing is demanded, and it may name what it copies."""
        if action != "create":
            return None
        form: Any = self.serializer_class
        meta = type("Meta", (form.Meta,), {"fields": (*form.Meta.fields, "copy_of")})
        copied = serializers.IntegerField(
            min_value=1, required=False, help_text="The number of the variant to copy; left out: the newest."
        )
        name = form.__name__.replace("Serializer", "DraftSerializer")
        draft = type(name, (form,), {"Meta": meta, "copy_of": copied, "__doc__": form.__doc__})
        return draft(partial=True)

    def parent(self) -> ConfigurationModel:
        rows = self.parent_model.objects.for_workspace(self.principal.workspace_id)
        if issubclass(self.parent_model, SharedModel):
            rows = visible_to(rows, self.principal)
        found: ConfigurationModel = find(rows, self.kwargs["id"])
        return found

    def variant(self, number: int) -> Any:
        found = self.get_queryset().filter(parent=self.parent(), number=number).first()
        if found is None:
            raise NotFound(f"There is no variant {number}.")
        return found

    def list(self, request: Request, id: str) -> Response:  # type: ignore[override]  # below its parent
        """The variants, the newest first."""
        rows = self.filter_queryset(self.get_queryset().filter(parent=self.parent()))
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    def create(self, request: Request, id: str) -> Response:
        """Start the next draft; `copy_of` names the variant to copy, else the newest is copied."""
        parent = self.parent()
        source = self._copied(parent, request)
        data = self.valid(self.get_serializer(data=request.data, partial=True))
        variant = variant_create_draft(parent, actor=self.principal.user, copy_of=source, values=data)
        return self.answer(variant, status=201)

    def _copied(self, parent: ConfigurationModel, request: Request) -> Variant | None:
        number = request.data.get("copy_of") if isinstance(request.data, dict) else None
        return None if number is None else self.variant(_number(number))

    def retrieve(self, request: Request, id: str, n: int) -> Response:  # type: ignore[override]
        return self.answer(self.variant(n))

    def partial_update(self, request: Request, id: str, n: int) -> Response:
        variant = self.variant(n)
        expected = self.expected(variant)
        data = self.valid(self.get_serializer(variant, data=request.data, partial=True))
        return self.answer(variant_edit(variant, values=data, expected=expected))

    @extend_schema(request=None)
    def publish(self, request: Request, id: str, n: int) -> Response:
        """Freeze the draft and serve it. With If-Match only that version of it."""
        variant = self.variant(n)
        expected = self.expected(variant) if "If-Match" in request.headers else None
        return self.answer(variant_publish(variant, actor=self.principal.user, expected=expected))

    @extend_schema(request=None)
    def activate(self, request: Request, id: str, n: int) -> Response:
        """Serve this published variant again."""
        return self.answer(variant_activate(self.variant(n)))

    @extend_schema(responses=DiffSerializer)
    def diff(self, request: Request, id: str, a: int, b: int) -> Response:
        """What differs between two variants."""
        changes = variant_diff(self.variant(a), self.variant(b))
        body = {"a": a, "b": b, "changes": [asdict(change) for change in changes]}
        return Response(DiffSerializer(body).data)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise NotFound("copy_of must be the number of a variant.") from None
