"""What the API shows of people, workspaces and keys."""

from typing import Any

from rest_framework import serializers

from accounts.models import ApiKey, AuditEvent, Membership, User, Workspace
from core.access import Role, Scope
from core.api.serializers import IdField

MAX_TOOLS = 200


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields: tuple[str, ...] = ("id", "email", "name", "is_superuser")
        read_only_fields: tuple[str, ...] = fields


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    """A workspace of the caller and the role in it."""

    id = serializers.UUIDField(source="workspace.id", read_only=True)
    name = serializers.CharField(source="workspace.name", read_only=True)
    slug = serializers.CharField(source="workspace.slug", read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)

    class Meta:
        model = Membership
        fields: tuple[str, ...] = ("id", "name", "slug", "role")


class SessionSerializer(serializers.Serializer[Any]):
    """The caller; `csrf_token` goes into the header X-CSRFToken of every unsafe request of a session."""

    user = UserSerializer(read_only=True)
    workspaces = MembershipSerializer(many=True, read_only=True)
    csrf_token = serializers.CharField(read_only=True)


class LoginSerializer(serializers.Serializer[Any]):
    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=4096, trim_whitespace=False, style={"input_type": "password"})


class WorkspaceSerializer(serializers.ModelSerializer[Workspace]):
    class Meta:
        model = Workspace
        fields: tuple[str, ...] = ("id", "name", "slug", "version", "created_at", "updated_at")
        read_only_fields = ("id", "version", "created_at", "updated_at")


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without its secret."""

    user = serializers.CharField(source="user.email", read_only=True)
    prefix = serializers.SerializerMethodField(help_text="How the key begins.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices), allow_empty=False, required=False
    )
    tools = serializers.ListField(
        child=IdField(),
        required=False,
        max_length=MAX_TOOLS,
        help_text="Ids of the RAG tools, retrieval tools and prompt templates that the key may use; empty: all of its "
        "user.",
    )
    status = serializers.ChoiceField(source="state", choices=("active", "expired", "revoked"), read_only=True)

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "id", "name", "prefix", "user", "scopes", "tools", "status",
            "expires_at", "last_used_at", "revoked_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "last_used_at", "revoked_at", "created_at")

    def get_prefix(self, key: ApiKey) -> str:
        return f"mk_{key.public_id}_"


class IssuedKeySerializer(ApiKeySerializer):
    """A key at the moment of its creation, the only one at which its text can be read."""

    key = serializers.CharField(read_only=True, help_text="The whole key. It is shown once.")

    class Meta(ApiKeySerializer.Meta):
        fields: tuple[str, ...] = (*ApiKeySerializer.Meta.fields, "key")


class RotationSerializer(serializers.Serializer[Any]):
    """How a key is followed by its successor."""

    overlap_seconds = serializers.IntegerField(
        min_value=0, max_value=30 * 86_400, default=86_400, help_text="So long the old key works on; default: a day."
    )
    expires_at = serializers.DateTimeField(
        required=False, help_text="Of the new key; left out: it lives as long as the old one was made for."
    )


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    """Something that somebody did. `changes` holds both values of each field; of a secret, the word `changed`."""

    changes = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEvent
        fields: tuple[str, ...] = (
            "id", "created_at", "action", "object_type", "object_id", "object_name", "changes", "actor_id",
            "actor_name", "key_id", "key_name", "door", "address", "request_id",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields
