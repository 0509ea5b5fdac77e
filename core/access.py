"""Who may do what: roles, scopes, and the one predicate that every door asks.

Plain data, without a database: `accounts` makes the Principal, all other apps only ask it.
"""

import uuid
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from core.exceptions import PermissionRefused


class Role(TextChoices):
    """A member's role in a workspace. Each has all rights of the one before."""

    USER = "user", _("User: runs what is shared, sees own runs")
    VIEWER = "viewer", _("Viewer: reads configuration, enters the admin")
    OPERATOR = "operator", _("Operator: configures, ingests, publishes")
    ADMIN = "admin", _("Admin: members, keys, providers")

    @property
    def rank(self) -> int:
        return list(Role).index(self)


class Scope(TextChoices):
    """What an API key may be used for, within its user's role."""

    READ = "read", _("Read configuration, documents, jobs and runs")
    RUN = "run", _("Run retrieval tools and RAG tools")
    INGEST = "ingest", _("Upload, retry and delete documents")
    MANAGE = "manage", _("Change configuration and access")
    MODELS = "models", _("Use raw models")


class Permission(Enum):
    """A kind of action: the least role in the workspace and the scope that a key needs."""

    RUN = (Role.USER, Scope.RUN)
    READ_OWN = (Role.USER, Scope.READ)
    MANAGE_OWN = (Role.USER, Scope.MANAGE)
    READ = (Role.VIEWER, Scope.READ)
    MODELS = (Role.VIEWER, Scope.MODELS)
    INGEST = (Role.OPERATOR, Scope.INGEST)
    MANAGE = (Role.OPERATOR, Scope.MANAGE)
    AUDIT = (Role.ADMIN, Scope.READ)
    ADMINISTER = (Role.ADMIN, Scope.MANAGE)

    @property
    def role(self) -> Role:
        return self.value[0]

    @property
    def scope(self) -> Scope:
        return self.value[1]


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True)
class Principal:
    """A caller in one workspace. `user` is the accounts.User row; `key_id` is set when an API key was used.

    tools: ids of the tools that this key may use; empty: all that its user may. `core.sharing` asks for them.
    """

    user: Any
    workspace_id: uuid.UUID
    workspace_slug: str
    role: Role
    scopes: frozenset[Scope] = ALL_SCOPES
    key_id: uuid.UUID | None = None
    tools: frozenset[uuid.UUID] = frozenset()

    @property
    def user_id(self) -> uuid.UUID:
        return uuid.UUID(str(self.user.pk))

    def allows(self, permission: Permission) -> bool:
        """The predicate of every door: role in the workspace and scope of the key."""
        return self.role.rank >= permission.role.rank and permission.scope in self.scopes

    def require(self, permission: Permission) -> None:
        """Raise PermissionRefused, saying what is missing."""
        if permission.scope not in self.scopes:
            raise PermissionRefused(f"This API key lacks the scope '{permission.scope.value}'.")
        if not self.allows(permission):
            raise PermissionRefused(
                f"This needs the role '{permission.role.value}' in the workspace; yours is '{self.role.value}'."
            )
