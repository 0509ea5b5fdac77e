"""Abstract bases: ids, timestamps, workspace scope, versions; and the tables of what every door needs."""

import uuid
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.fields import EncryptedJSONField
from core.ids import DatabaseUUID7, is_uuid, uuid7
from core.slugs import require_free_slug

M = TypeVar("M", bound=models.Model)


class UnscopedQuery(Exception):
    """A query over workspace-scoped rows did not say which workspace it is for."""


class UUIDModel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, db_default=DatabaseUUID7(), editable=False)

    class Meta:
        abstract = True


class TimestampedModel(models.Model):
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        abstract = True


class VersionedModel(models.Model):
    """A row that people edit. The version rises with each save through a service; it is the ETag."""

    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        abstract = True


class WorkspaceManager(models.Manager[M]):
    """Offers queries of one workspace only. There is no way around it but the private manager `_unscoped`."""

    def get_queryset(self) -> models.QuerySet[M]:
        raise UnscopedQuery(f"Use {self.model.__name__}.objects.for_workspace(workspace_id).")

    def none(self) -> models.QuerySet[M]:
        """No rows at all, which is safe for everybody."""
        return super().get_queryset().none()

    def for_workspace(self, workspace_id: uuid.UUID) -> models.QuerySet[M]:
        """All rows of this workspace, and no others."""
        return super().get_queryset().filter(workspace_id=workspace_id)


class WorkspaceScopedModel(UUIDModel):
    """A row that belongs to one workspace.

    `objects` refuses to run without a workspace. `_unscoped` is for Django's own machinery (validation,
    relations), for the sweeper and for tasks that start from an id; a test lists the modules that may name it.
    """

    # The relation to the object that people know, for a row that is only a part of one.
    belongs_to: ClassVar[str] = ""

    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+", editable=False)

    _unscoped: ClassVar[models.Manager[Any]] = models.Manager()
    objects: ClassVar[WorkspaceManager[Any]] = WorkspaceManager()

    class Meta:
        abstract = True
        default_manager_name = "_unscoped"
        base_manager_name = "_unscoped"

    def clean(self) -> None:
        """No row may point into another workspace."""
        super().clean()
        errors = {
            field.name: ValidationError(_("This belongs to another workspace."), code="other_workspace")
            for field in self._meta.concrete_fields
            if self._points_elsewhere(field)
        }
        if errors:
            raise ValidationError(errors)

    def _points_elsewhere(self, field: "models.Field[Any, Any]") -> bool:
        target = field.related_model
        if not isinstance(target, type) or not issubclass(target, WorkspaceScopedModel):
            return False
        related = getattr(self, field.name, None) if getattr(self, field.attname, None) else None
        return related is not None and related.workspace_id != self.workspace_id


class ConfigurationModel(WorkspaceScopedModel, TimestampedModel, VersionedModel):
    """Something that operators configure: named, with a slug that is unique in its workspace and kind."""

    # Kinds that callers name by slug alone in /v1, so a slug stands for one object among them all.
    SHARES_SLUGS: ClassVar[bool] = False

    name = models.CharField(_("name"), max_length=200, help_text=_("Shown to people."))
    slug = models.SlugField(
        _("slug"), max_length=100, help_text=_("Used in URLs, commands and by other systems; unique in the workspace.")
    )
    description = models.TextField(_("description"), blank=True, help_text=_("For people; it changes no answer."))

    class Meta(WorkspaceScopedModel.Meta):
        abstract = True
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "slug"], name="%(app_label)s_%(class)s_slug_in_workspace")
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        if is_uuid(self.slug):
            raise ValidationError({"slug": ValidationError(_("A slug may not look like an id (UUID)."), code="uuid")})
        if self.SHARES_SLUGS:
            require_free_slug(self)


class StoredAnswer(UUIDModel):
    """What a request with an Idempotency-Key was answered. `core.api.idempotency` writes and reads it.

    The answer is encrypted: that of a new API key holds its text. A run's is told from its events, named by `run_id`.
    """

    key_hash = models.CharField(max_length=64, unique=True)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=200)
    answer = EncryptedJSONField(blank=True)
    run_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.key_hash


class RequestCount(models.Model):
    """Requests of one caller in one window, counted here while Valkey is away. `core.limits` writes it."""

    key = models.CharField(primary_key=True, max_length=120)
    count = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
