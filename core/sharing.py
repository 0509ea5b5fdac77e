"""Sharing: which tools and prompt templates somebody with the role user, or an API key, may know of and run.

One selector for every door: `visible_to`. A row says who: a member or a group of the workspace; a column says that it
is everybody. Viewers and above see all configuration, so sharing narrows the role user alone; the list of a key narrows
whoever uses that key.
"""

from typing import Any, ClassVar

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.access import Principal, Role
from core.compiled import AnyOf, Compiled, Statement, execute
from core.ids import as_stored, is_uuid
from core.models import ConfigurationModel, UUIDModel


class SharedModel(ConfigurationModel):
    """Configuration that people run when it is shared with them. A subclass has a Share whose `tool` points to it."""

    shared_with_everybody = models.BooleanField(
        _("everybody in the workspace"),
        default=True,
        db_default=True,
        help_text=_("Off: of people with the role user, only the members and groups below find and run it."),
    )

    shares: ClassVar[Any]

    class Meta(ConfigurationModel.Meta):
        abstract = True

    @property
    def shared_with_members(self) -> list[Any]:
        """The accounts.Membership rows that it is shared with."""
        return [share.member for share in self.shares.all() if share.member_id] if self.pk else []

    @property
    def shared_with_groups(self) -> list[Any]:
        """The accounts.Group rows that it is shared with."""
        return [share.group for share in self.shares.all() if share.group_id] if self.pk else []


class Share(UUIDModel):
    """Says that a member, or a group, may run `tool`, which a subclass declares (related_name="shares")."""

    belongs_to = "tool"

    member = models.ForeignKey("accounts.Membership", on_delete=models.CASCADE, null=True, related_name="+")
    group = models.ForeignKey("accounts.Group", on_delete=models.PROTECT, null=True, related_name="%(class)ss")

    tool: Any

    class Meta:
        abstract = True
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["tool", "member"], name="%(app_label)s_%(class)s_member_once"),
            models.UniqueConstraint(fields=["tool", "group"], name="%(app_label)s_%(class)s_group_once"),
            models.CheckConstraint(
                condition=Q(member__isnull=False, group__isnull=True) | Q(member__isnull=True, group__isnull=False),
                name="%(app_label)s_%(class)s_member_or_group",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool}: {self.member or self.group}"


def visible_to(rows: models.QuerySet[Any], principal: Principal) -> models.QuerySet[Any]:
    """Those of a workspace's rows that the caller may know of: a viewer all, a user what is published and shared with
    them; with a key that names tools, only those of both."""
    named = Q(pk__in=principal.tools) if principal.tools else Q()
    return _narrowed(rows, named, me=_me(principal), here=principal.workspace_id, all_seen=sees_all(principal))


def find_visible(model: type[SharedModel], principal: Principal, reference: str) -> Any:
    """The one of `visible_to` that has this id or slug, or None: what each run of a tool begins with."""
    (rows,) = execute(visible(model, principal, reference))
    return next(iter(rows), None)


def visible(model: type[SharedModel], principal: Principal, reference: str) -> Statement[list[Any]]:
    """The same for who asks the database for more at once."""
    shape = (model, is_uuid(reference), bool(principal.tools), sees_all(principal))
    given = {"reference": as_stored(reference), "tools": list(principal.tools)}
    return _visible.filled(*shape, **given, here=principal.workspace_id, me=_me(principal))


@Compiled
def _visible(  # noqa: PLR0913  # what decides how the SQL looks, and what fills it
    model: type[SharedModel],
    by_id: bool,
    narrowed: bool,
    all_seen: bool,
    *,
    reference: Any,
    tools: Any,
    here: Any,
    me: Any,
) -> models.QuerySet[Any]:
    rows = model.objects.for_workspace(here).filter(**{"pk" if by_id else "slug": reference})
    return _narrowed(rows, AnyOf("pk", tools) if narrowed else Q(), me=me, here=here, all_seen=all_seen)


def sees_all(principal: Principal) -> bool:
    """Whether sharing is no question for this caller."""
    return principal.role.rank >= Role.VIEWER.rank


def _me(principal: Principal) -> Any:
    """Who sharing is a question for, if it is one."""
    return None if sees_all(principal) else principal.user_id


def _narrowed(rows: models.QuerySet[Any], named: Any, *, me: Any, here: Any, all_seen: bool) -> models.QuerySet[Any]:
    """The rule of `visible_to`. named: those that the caller's key names."""
    rows = rows.filter(named)
    return rows if all_seen else _shared_with(rows, me, here).filter(variants__is_active=True)


def _shared_with(rows: models.QuerySet[Any], me: Any, here: Any) -> models.QuerySet[Any]:
    shares = rows.model._meta.get_field("shares").related_model._default_manager
    to_me = shares.filter(member__user_id=me, member__workspace_id=here)
    to_us = shares.filter(group__workspace_id=here, group__members__user_id=me)
    return rows.filter(Q(shared_with_everybody=True) | Q(pk__in=to_me.values("tool")) | Q(pk__in=to_us.values("tool")))


def shared_models() -> list[type[SharedModel]]:
    """Every kind of object that can be shared."""
    return [model for model in apps.get_models() if issubclass(model, SharedModel)]


def visible_tools(principal: Principal) -> list[SharedModel]:
    """All that the caller may run, of every kind, by name."""
    found = [
        tool
        for model in shared_models()
        for tool in visible_to(model.objects.for_workspace(principal.workspace_id), principal)
    ]
    return sorted(found, key=lambda tool: (str(tool._meta.verbose_name), tool.name))


def hidden_ids(principal: Principal) -> list[models.QuerySet[Any]]:
    """Ids of what is there and not shared with the caller, a query for each kind. What was deleted hides nothing."""
    if sees_all(principal):
        return []
    kinds = [model.objects.for_workspace(principal.workspace_id) for model in shared_models()]
    me, here = principal.user_id, principal.workspace_id
    return [rows.exclude(pk__in=_shared_with(rows, me, here).values("pk")).values("pk") for rows in kinds]
