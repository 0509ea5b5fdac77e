"""People, workspaces, memberships and API keys."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.access import Role, Scope
from core.models import ConfigurationModel, TimestampedModel, UUIDModel, VersionedModel, WorkspaceScopedModel


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username or "")


class User(UUIDModel, AbstractBaseUser, PermissionsMixin, TimestampedModel):
    """A person who logs in by e-mail address. What they may do follows from their memberships alone."""

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=200, blank=True)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Switch off instead of deleting: all sessions and keys stop working.")
    )
    is_staff = models.BooleanField(
        _("admin site"), default=False, help_text=_("Superusers' way in; members enter the admin through their role.")
    )

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        ordering = ["email"]
        constraints = [models.UniqueConstraint(Lower("email"), name="accounts_user_email_any_case")]

    def __str__(self) -> str:
        return self.name or self.email


class Workspace(UUIDModel, TimestampedModel, VersionedModel):
    """The tenant: everything that is configured and every run belongs to one."""

    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(_("slug"), max_length=100, unique=True, help_text=_("Named in X-Workspace and commands."))
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="workspaces"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        try:
            uuid.UUID(self.slug)
        except ValueError:
            return
        raise ValidationError({"slug": ValidationError(_("A slug may not look like an id (UUID)."), code="uuid")})


class Membership(UUIDModel, TimestampedModel, VersionedModel):
    """A person's role in a workspace."""

    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=20, choices=Role.choices, default=Role.USER)

    class Meta:
        ordering = ["user__email"]
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="accounts_one_role_per_workspace")]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace}: {self.role}"


class Group(ConfigurationModel):
    """Members of a workspace with whom something can be shared together. It gives no role."""

    members: "models.ManyToManyField[Membership, Any]" = models.ManyToManyField(
        Membership,
        related_name="groups",
        blank=True,
        verbose_name=_("members"),
        help_text=_("People of this workspace. Who leaves the workspace leaves its groups."),
    )

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("group")


class FailedTries(models.Model):
    """Wrong tries of one secret from one address. `accounts.lockout` counts them; a row ends by itself."""

    class Kind(models.TextChoices):
        LOGIN = "login", _("Password")
        API_KEY = "api_key", _("API key")
        RESET = "reset", _("Password reset")

    kind = models.CharField(max_length=20, choices=Kind.choices)
    subject = models.CharField(max_length=64)
    network = models.CharField(max_length=50, blank=True)
    count = models.PositiveSmallIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "subject", "network"], name="accounts_tries_once")]

    def __str__(self) -> str:
        return f"{self.kind} from {self.network}: {self.count}"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def for_workspace(self, workspace_id: uuid.UUID) -> "AuditEventQuerySet":
        """What happened in this workspace, and how its members signed in."""
        members = Membership.objects.filter(workspace_id=workspace_id).values("user_id")
        sign_ins = models.Q(workspace_id=None, action__in=SIGN_INS, object_id__in=members)
        return self.filter(models.Q(workspace_id=workspace_id) | sign_ins)


SIGN_INS = ("login", "login_failed", "logout", "locked_out", "reset_requested", "reset_link", "password_reset")


class AuditEvent(UUIDModel):
    """Something that somebody did to configuration, access or secrets. A database trigger refuses to change it.

    Names are kept as they were; nothing here refers to a row, so that nothing has to change when the row goes.
    """

    created_at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    workspace_id = models.UUIDField(null=True, blank=True)
    action = models.CharField(_("action"), max_length=30)
    object_type = models.CharField(_("kind"), max_length=50)
    object_id = models.UUIDField()
    object_name = models.CharField(_("object"), max_length=300, blank=True)
    changes = models.JSONField(_("changes"), default=dict, blank=True)
    actor_id = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(_("who"), max_length=254, blank=True)
    key_id = models.UUIDField(null=True, blank=True)
    key_name = models.CharField(_("API key"), max_length=200, blank=True)
    door = models.CharField(_("door"), max_length=20)
    address = models.CharField(_("address"), max_length=50, blank=True)
    request_id = models.CharField(_("request"), max_length=64, blank=True)

    objects: ClassVar[Any] = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("audit event")
        indexes = [
            models.Index(fields=["workspace_id", "-id"], name="accounts_audit_newest"),
            models.Index(fields=["object_id", "-id"], name="accounts_audit_of_object"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_name}"


class SeedRecord(UUIDModel):
    """A seed that a workspace has got. What people delete or rename afterwards is not created a second time."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="accounts_seed_once")]


def _all_scopes() -> list[str]:
    return [scope.value for scope in Scope]


class ApiKey(WorkspaceScopedModel, TimestampedModel):
    """A credential of one user in one workspace. The secret is shown once and stored as a hash.

    role: of the user in the workspace, None of who left it, where `selectors.keys_with_role` read the row.
    """

    role: str | None

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=200, help_text=_("What uses this key; names may repeat."))
    public_id = models.CharField(_("id"), max_length=20, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(
        models.CharField(max_length=20, choices=Scope.choices), verbose_name=_("scopes"), default=_all_scopes
    )
    tools = ArrayField(
        models.UUIDField(),
        verbose_name=_("tools"),
        default=list,
        db_default=models.Value([], ArrayField(models.UUIDField())),
        blank=True,
        help_text=_("The RAG tools, retrieval tools and prompt templates that the key may use; none: all of its user."),
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Empty: never."))
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta(WorkspaceScopedModel.Meta):
        verbose_name = _("API key")
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} (mk_{self.public_id}_…)"

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "active"
