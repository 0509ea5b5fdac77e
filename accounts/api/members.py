"""Members and groups of the workspace."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.examples import GROUPS, MEMBERS
from accounts.api.serializers import UserSerializer
from accounts.api.sharing import MemberField
from accounts.groups import group_create, group_delete, group_update
from accounts.members import member_add
from accounts.models import Group, Membership
from accounts.selectors import members_of
from accounts.services import membership_change, membership_remove
from core.access import Permission, Principal, Role
from core.api.serializers import CONFIGURATION_FIELDS, CONFIGURATION_READ_ONLY, MAX_REFERENCES
from core.api.views import ConfigurationViewSet

ADMINISTER = dict.fromkeys(("create", "partial_update", "destroy"), Permission.ADMINISTER)


class PersonSerializer(UserSerializer):
    class Meta(UserSerializer.Meta):
        fields = ("id", "email", "name")
        read_only_fields = fields


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A person's role in the workspace. Of a member only the role can be changed."""

    email = serializers.EmailField(write_only=True, help_text="Of the person to add; it cannot be changed here.")
    user = PersonSerializer(read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, help_text="Each has all rights of the one before.")

    class Meta:
        model = Membership
        fields: tuple[str, ...] = ("id", "email", "user", "role", "version", "created_at", "updated_at")
        read_only_fields = ("id", "version", "created_at", "updated_at")


class AddedMemberSerializer(MemberSerializer):
    """A new member, and how they are invited when they have no password yet."""

    invitation_mailed = serializers.BooleanField(read_only=True)
    invitation_link = serializers.CharField(
        read_only=True,
        help_text="For a superuser to hand over, where no mail can be sent; shown this once. Empty: there is none.",
    )

    class Meta(MemberSerializer.Meta):
        fields: tuple[str, ...] = (*MemberSerializer.Meta.fields, "invitation_mailed", "invitation_link")


class GroupSerializer(serializers.ModelSerializer[Group]):
    """Members with whom something is shared together."""

    members = MemberField(
        many=True, required=False, help_text=f"Ids or e-mail addresses of members, at most {MAX_REFERENCES}."
    )

    class Meta:
        model = Group
        fields = (*CONFIGURATION_FIELDS, "members")
        read_only_fields = CONFIGURATION_READ_ONLY


class MemberViewSet(ConfigurationViewSet):
    """Who belongs to the workspace, and as what."""

    examples = MEMBERS
    model = Membership  # type: ignore[assignment]  # its workspace is a part of it, so it is queried by it
    permissions: ClassVar[dict[str, Permission | None]] = {**ADMINISTER}
    serializer_class = MemberSerializer
    ordering = ("-id",)
    ordering_fields = ("created_at", "updated_at")
    search_fields = ("user__email", "user__name")
    filterset_fields = {"role": ["exact", "in"], "user__email": ["exact"], "created_at": ["gte", "lte"]}

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Membership.objects.none()
        return self.queryset_for(self.principal)

    def queryset_for(self, principal: Principal) -> Any:
        return members_of(principal)

    @extend_schema(request=MemberSerializer, responses={201: AddedMemberSerializer})
    def create(self, request: Request) -> Response:
        """Add the person with this address. Somebody without an account is invited: by mail, or by the link
        here, which only a superuser is shown; others ask one to make a link on the person's page."""
        data = self.valid(self.get_serializer(data=request.data))
        added = member_add(principal=self.principal, email=data["email"], role=Role(data["role"]))
        invitation = {"invitation_mailed": added.invitation_mailed, "invitation_link": added.invitation_link}
        answer = self.answer(added.membership, status=201)
        answer.data = {**answer.data, **invitation}
        answer["Cache-Control"] = "no-store"
        return answer

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Membership:
        return membership_change(instance, role=Role(data.get("role", instance.role)), expected=expected)

    def delete_object(self, instance: Any) -> None:
        membership_remove(instance)


class GroupViewSet(ConfigurationViewSet):
    """Groups of members. They give no role; tools are shared with them."""

    examples = GROUPS
    model = Group
    permissions: ClassVar[dict[str, Permission | None]] = {**ADMINISTER}
    serializer_class = GroupSerializer
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug", "description")
    filterset_fields = {"slug": ["exact", "in"], "updated_at": ["gte", "lte"]}

    def queryset_for(self, principal: Principal) -> Any:
        return super().queryset_for(principal).prefetch_related("members")

    def create_object(self, data: dict[str, Any]) -> Group:
        return group_create(principal=self.principal, values=data)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Group:
        return group_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        group_delete(instance, principal=self.principal)
