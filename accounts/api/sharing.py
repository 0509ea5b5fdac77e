"""Sharing in the API: the fields of a tool that say who may run it, and what a user is told of the rest."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.db.models.functions import Lower
from rest_framework import serializers
from rest_framework.request import Request

from accounts.models import Group, Membership
from accounts.sharing import SHARING_FIELDS
from core.access import Principal
from core.api.serializers import RowReference, ScopedRelatedField
from core.api.views import find
from core.exceptions import PermissionRefused
from core.sharing import SharedModel, sees_all, visible_to


class MemberField(RowReference):
    """A member of the caller's workspace, by id or e-mail address."""

    kind = "member"

    def __init__(self, **options: Any) -> None:
        if not options.get("read_only"):
            options["queryset"] = Membership.objects.none()
        super().__init__(**options)

    @staticmethod
    def key(reference: str) -> str:
        """Addresses are the same in any case."""
        return RowReference.key(reference).lower()

    def rows(self) -> QuerySet[Any]:
        here = Membership.objects.filter(workspace_id=self.context["view"].principal.workspace_id)
        return here.select_related("user").annotate(reference=Lower("user__email"))


class SharedSerializer(serializers.ModelSerializer[Any]):
    """Adds who a tool is shared with. Somebody with the role user is not told who else may run it."""

    shared_with_members = MemberField(
        many=True, required=False, help_text="Ids or e-mail addresses of members; always empty for the role user."
    )
    shared_with_groups = ScopedRelatedField(
        model=Group, many=True, required=False, help_text="Ids or slugs of groups; always empty for the role user."
    )

    def get_fields(self) -> dict[str, Any]:
        """A tool is made with its first variant; afterwards variants have an endpoint of their own."""
        fields: dict[str, Any] = super().get_fields()
        if self.partial:
            fields.pop("variant", None)
        return fields

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if not sees_all(self.context["view"].principal):
            shown |= {"shared_with_members": [], "shared_with_groups": []}
        return shown

    class Meta:
        fields: tuple[str, ...] = SHARING_FIELDS


class HidesUnshared:
    """For views of one kind of tool: what is not shared with the caller is not there, whatever they want to do to it.

    A missing right is told of objects that the caller knows. Subclasses name the model in `shared_model`.
    """

    shared_model: ClassVar[type[SharedModel]]
    kwargs: dict[str, Any]
    principal: Principal

    def check_permissions(self, request: Request) -> None:
        try:
            super().check_permissions(request)  # type: ignore[misc]  # of APIView, which follows
        except PermissionRefused:
            if "id" in self.kwargs:
                rows = self.shared_model.objects.for_workspace(self.principal.workspace_id)
                find(visible_to(rows, self.principal), self.kwargs["id"])
            raise
