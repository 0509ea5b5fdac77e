"""Groups of members in the admin."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from accounts.groups import group_create, group_delete, group_update
from accounts.models import Group
from core.access import Permission, Principal
from core.admin import WorkspaceModelAdmin


@admin.register(Group)
class GroupAdmin(WorkspaceModelAdmin):
    """Members with whom something is shared together."""

    list_display = ("name", "slug", "member_count", "updated_at")
    search_fields = ("name", "slug")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    autocomplete_fields = ("members",)
    fieldsets = ((None, {"fields": ("name", "slug", "description", "members")}),)
    add_permission = change_permission = delete_permission = Permission.ADMINISTER
    empty_title = _("No groups yet")
    empty_text = _("Share a tool with a group, and everybody who joins the group may run it.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(members_total=Count("members"))
        return rows

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Group:
        return group_create(principal=principal, values=values)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return group_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        group_delete(obj, principal=principal)

    @display(description=_("Members"), ordering="members_total")
    def member_count(self, obj: Any) -> int:
        return int(obj.members_total)
