"""The part of a tool's admin page that says who may run it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.utils.translation import gettext_lazy as _

from accounts.models import Group, Membership
from accounts.sharing import GROUPS, MEMBERS, SHARING_FIELDS
from core.admin_forms import WorkspaceForm
from core.sharing import SharedModel

SHARING_FIELDSET = (
    _("Who may run it"),
    {
        "fields": SHARING_FIELDS,
        "description": _("Viewers, operators and admins of the workspace see and run everything in any case."),
    },
)
MEMBERS_HELP = _("People who find and run it when it is not shared with everybody. Type a part of the address.")
GROUPS_HELP = _("All members of these groups, also those who join later.")


class _Rows(forms.ModelMultipleChoiceField[Any]):
    def label_from_instance(self, obj: Any) -> str:
        return obj.user.email if isinstance(obj, Membership) else str(obj)


class SharingForm(WorkspaceForm):
    """Adds the members and groups that a tool is shared with."""

    shared_with_members = _Rows(
        queryset=Membership.objects.none(), required=False, label=_("Members"), help_text=MEMBERS_HELP
    )
    shared_with_groups = _Rows(queryset=Group.objects.none(), required=False, label=_("Groups"), help_text=GROUPS_HELP)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        here = self.principal.workspace_id
        members = Membership.objects.filter(workspace_id=here).select_related("user")
        self._offer(MEMBERS, members, "member")
        self._offer(GROUPS, Group.objects.for_workspace(here), "group")

    def _offer(self, name: str, rows: Any, column: str) -> None:
        """Choices are fetched while somebody types, from the admin's own search of that kind."""
        chosen = self.fields[name]
        assert isinstance(chosen, _Rows)
        field = self._meta.model._meta.get_field("shares").related_model._meta.get_field(column)
        chosen.widget = AutocompleteSelectMultiple(field, admin.site, attrs={"data-theme": "admin-autocomplete"})
        chosen.queryset = rows
        assert isinstance(self.instance, SharedModel)
        self.initial.setdefault(name, getattr(self.instance, name) if not self.instance._state.adding else [])
