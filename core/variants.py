"""Variants: numbered configurations of one object; editable as a draft, frozen once published."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.models import TimestampedModel, VersionedModel, WorkspaceScopedModel
from core.states import StatefulModel, Transitions


class VariantStatus(models.TextChoices):
    DRAFT = "draft", _("Draft")
    PUBLISHED = "published", _("Published")


class Variant(StatefulModel, WorkspaceScopedModel, TimestampedModel, VersionedModel):
    """Base of all variants. A subclass declares `parent` (ForeignKey, related_name="variants") and lists in
    CONFIG_FIELDS what is copied to the next draft, compared in a diff and frozen by publishing."""

    belongs_to = "parent"
    CONFIG_FIELDS: ClassVar[tuple[str, ...]] = ()
    TRANSITIONS: ClassVar[Transitions] = {
        VariantStatus.DRAFT: frozenset({VariantStatus.PUBLISHED}),
        VariantStatus.PUBLISHED: frozenset(),
    }

    number = models.PositiveIntegerField(_("number"), editable=False)
    status = models.CharField(
        _("status"), max_length=20, choices=VariantStatus.choices, default=VariantStatus.DRAFT, editable=False
    )
    is_active = models.BooleanField(_("active"), default=False, editable=False, help_text=_("The one that is served."))
    note = models.CharField(
        _("note"), max_length=300, blank=True, help_text=_("What this variant changes, for people.")
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    published_at = models.DateTimeField(_("published"), null=True, blank=True, editable=False)

    parent: Any

    class Meta(WorkspaceScopedModel.Meta):
        abstract = True
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["parent", "number"], name="%(app_label)s_%(class)s_number"),
            models.UniqueConstraint(
                fields=["parent"], condition=Q(status="draft"), name="%(app_label)s_%(class)s_one_draft"
            ),
            models.UniqueConstraint(
                fields=["parent"], condition=Q(is_active=True), name="%(app_label)s_%(class)s_one_active"
            ),
            models.CheckConstraint(
                condition=Q(is_active=False) | Q(status="published"), name="%(app_label)s_%(class)s_active_published"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.parent} @{self.number}"

    @property
    def is_draft(self) -> bool:
        return self.status == VariantStatus.DRAFT

    def config(self) -> dict[str, Any]:
        """What this variant configures, by field name; foreign keys as ids, many-to-many as a list of ids."""
        return {name: self._configured(self._meta.get_field(name)) for name in self.CONFIG_FIELDS}

    def _configured(self, field: Any) -> Any:
        if field.many_to_many:
            return list(getattr(self, field.name).order_by("pk").values_list("pk", flat=True))
        return getattr(self, field.attname)
