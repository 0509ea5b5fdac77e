"""Access: workspaces, members, people and API keys."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group as DjangoGroup
from django.contrib.auth.password_validation import validate_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordToggleWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts import admin_groups  # noqa: F401  # registers itself
from accounts.links import LIFETIME, Purpose
from accounts.members import WHO_HELPS, AddedMember, invitation_renew, member_add
from accounts.models import ApiKey, AuditEvent, Membership, User, Workspace
from accounts.passwords import reset_link
from accounts.selectors import members_of, workspaces_with_role
from accounts.services import (
    api_key_issue,
    api_key_revoke,
    membership_change,
    membership_remove,
    user_create,
    user_update,
    workspace_create,
    workspace_rename,
)
from accounts.sharing import tools_for_key
from core.access import Permission, Principal, Role, Scope
from core.admin import PageModelAdmin, WorkspaceModelAdmin
from core.admin_display import moment
from core.admin_forms import WorkspaceForm
from core.sharing import SharedModel, shared_models, visible_tools

ROLE_COLOURS = {Role.USER: "default", Role.VIEWER: "info", Role.OPERATOR: "primary", Role.ADMIN: "warning"}
KEY_COLOURS = {"active": "success", "expired": "warning", "revoked": "danger"}
ACTION_COLOURS = {"delete": "danger", "revoke": "danger", "login_failed": "warning", "locked_out": "danger"}
KEY_LIFETIMES = (("", _("Never")), ("30", _("30 days")), ("90", _("90 days")), ("365", _("1 year")))

# Rights follow memberships, so Django's groups would promise what nothing reads.
if admin.site.is_registered(DjangoGroup):
    admin.site.unregister(DjangoGroup)


def link_page(
    page: WorkspaceModelAdmin, request: HttpRequest, person: User, link: str, purpose: Purpose, back: str
) -> HttpResponse:
    """The one page that shows a link to set a password; nothing can show it again."""
    hours = round(LIFETIME[purpose].total_seconds() / 3600)
    lifetime = _("It ends after %(hours)d h, and with the next sign-in of this person.") % {"hours": hours}
    extra = {"person": person, "link": link, "lifetime": lifetime, "back": back}
    context = page.page_context(request, _("A link to set a password"), **extra)
    response = TemplateResponse(request, "admin/accounts/link.html", context)
    response["Cache-Control"] = "no-store"
    return response


@admin.register(Workspace)
class WorkspaceAdmin(WorkspaceModelAdmin):
    """The workspaces that the person belongs to; a superuser may create one."""

    list_display = ("name", "slug", "member_count", "updated_at")
    search_fields = ("name", "slug")
    change_permission = Permission.ADMINISTER
    delete_permission = None
    fields = ("name", "slug")

    def workspace_rows(self, principal: Principal) -> Any:
        return Workspace.objects.filter(pk__in=workspaces_with_role(principal.user, Role.VIEWER))

    def get_queryset(self, request: HttpRequest) -> Any:
        from django.db.models import Count

        rows = Workspace.objects.filter(pk__in=workspaces_with_role(self._person(request), Role.VIEWER))
        return rows.annotate(members_total=Count("memberships")).order_by("name")

    @staticmethod
    def _person(request: HttpRequest) -> User:
        assert isinstance(request.user, User)
        return request.user

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self._person(request).is_superuser

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return self._person(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A workspace is administered while one works in it, so that roles never mix."""
        found = self.admin_site.principal(request)
        elsewhere = obj is not None and found is not None and obj.pk != found.workspace_id
        return super().has_change_permission(request, obj) and not elsewhere

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def principal(self, request: HttpRequest) -> Principal:
        """A superuser without any membership has no principal yet, and may create the first workspace."""
        found: Principal | None = self.admin_site.principal(request)
        person = self._person(request)
        if found is None and person.is_superuser:
            return Principal(person, person.pk, "", Role.USER)
        return found if found is not None else super().principal(request)

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Workspace:
        return workspace_create(actor=principal.user, name=values["name"], slug=values["slug"])

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return workspace_rename(obj, principal=principal, name=values["name"], expected=expected)

    @display(description=_("Members"), ordering="members_total")
    def member_count(self, obj: Any) -> int:
        return int(obj.members_total)


class MembershipForm(WorkspaceForm):
    email = forms.EmailField(
        label=_("E-mail address"),
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("Somebody without an account is invited: by mail, or by a link that a superuser hands over."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields.pop("email", None)

    class Meta:
        model = Membership
        fields = ("role",)


@admin.register(Membership)
class MembershipAdmin(WorkspaceModelAdmin):
    """Who belongs to the current workspace, and as what."""

    form = MembershipForm
    list_display = ("user", "address", "role_label", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__email", "user__name")
    add_permission = change_permission = delete_permission = Permission.ADMINISTER
    radio_fields: ClassVar[Any] = {"role": admin.VERTICAL}
    actions_detail = ("invite_again",)
    empty_title = _("Nobody else is here yet")

    def workspace_rows(self, principal: Principal) -> Any:
        return members_of(principal)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [(None, {"fields": ["role"] if obj else ["email", "role"]})]

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Membership:
        added = member_add(principal=principal, email=values["email"], role=Role(values["role"]))
        added.membership._added = added  # type: ignore[attr-defined]  # for the answer of this request only
        return added.membership

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._invitation(request, obj._added) or super().response_add(request, obj, post_url_continue)

    def _invitation(self, request: HttpRequest, added: AddedMember) -> HttpResponse | None:
        """Where no mail goes out: the page with the link, shown once."""
        person = added.membership.user
        if added.invitation_mailed:
            messages.info(request, _("An invitation to %(email)s is on its way.") % {"email": person.email})
        if added.waits:
            reason = _("No mail can be sent to %(email)s.") % {"email": person.email}
            messages.warning(request, f"{reason} {WHO_HELPS}")
        if not added.invitation_link:
            return None
        back = reverse("admin:accounts_membership_changelist")
        return link_page(self, request, person, added.invitation_link, Purpose.INVITE, back)

    @action(description=_("Invite again"), url_path="invite", icon="mail", permissions=["invite"])
    def invite_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who has set no password yet."""
        membership = self.object_or_404(request, object_id)
        back = reverse("admin:accounts_membership_change", args=[membership.pk])
        if request.method != "POST":
            text = _(
                "For somebody who has set no password yet. Older links of this person stay good until one is used, "
                "or the person comes into another workspace."
            )
            context = self.page_context(request, _("Invite again?"), membership, text=text, back=back)
            return TemplateResponse(request, "admin/accounts/link_ask.html", context)

        def invite() -> HttpResponse:
            added = invitation_renew(membership, principal=self.principal(request))
            return self._invitation(request, added) or redirect(back)

        answer: HttpResponse = self.refusable(request, invite, lambda: redirect(back))
        return answer

    def has_invite_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._allows(request, Permission.ADMINISTER)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return membership_change(obj, role=Role(values["role"]), expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        membership_remove(obj)

    @display(description=_("E-mail address"), ordering="user__email")
    def address(self, obj: Membership) -> str:
        return obj.user.email

    @display(description=_("Role"), ordering="role", label=ROLE_COLOURS)
    def role_label(self, obj: Membership) -> tuple[str, str]:
        return obj.role, obj.role


class PersonForm(WorkspaceForm):
    new_password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
        help_text=_("Leave empty to keep the present one."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding and "new_password" in self.fields:
            self.fields["new_password"].required = True
            self.fields["new_password"].help_text = _("Tell it to the person; they can change it after signing in.")

    def clean_new_password(self) -> str:
        password: str = self.cleaned_data["new_password"]
        if password:
            validate_password(password, self.instance)
        return password

    class Meta:
        model = User
        fields = ("email", "name", "is_active", "is_superuser")


@admin.register(User)
class PersonAdmin(WorkspaceModelAdmin):
    """Accounts of the installation. Superusers only: a person may belong to workspaces that others do not see."""

    form = PersonForm
    list_display = ("email", "name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    actions_detail = ("reset_link",)
    fieldsets = ((None, {"fields": ("email", "name", "new_password", "is_active", "is_superuser")}),)

    def _allows(self, request: HttpRequest, permission: Permission | None) -> bool:
        return bool(getattr(request.user, "is_superuser", False)) and request.user.is_active

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def principal(self, request: HttpRequest) -> Principal:
        assert isinstance(request.user, User)
        found: Principal | None = self.admin_site.principal(request)
        return found or Principal(request.user, request.user.pk, "", Role.USER)

    def get_queryset(self, request: HttpRequest) -> Any:
        return User.objects.order_by("email") if self._allows(request, None) else User.objects.none()

    def workspace_rows(self, principal: Principal) -> Any:
        return User.objects.filter(memberships__workspace_id=principal.workspace_id)

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> User:
        return user_create(actor=principal.user, **self._account(values))

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return user_update(obj, actor=principal.user, values=self._account(values))

    @action(description=_("Make a link to set the password"), url_path="reset-link", icon="key", permissions=["reset"])
    def reset_link(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who forgot it, where no mail goes out."""
        person = self.object_or_404(request, object_id)
        back = reverse("admin:accounts_user_change", args=[person.pk])
        if request.method != "POST":
            text = _("With the link, this person sets a new password once. Their sessions end then; their keys stay.")
            context = self.page_context(request, _("Make a link to set the password?"), person, text=text, back=back)
            return TemplateResponse(request, "admin/accounts/link_ask.html", context)

        def make() -> HttpResponse:
            link = reset_link(person, actor=self.principal(request).user)
            return link_page(self, request, person, link, Purpose.RESET, back)

        answer: HttpResponse = self.refusable(request, make, lambda: redirect(back))
        return answer

    def has_reset_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._allows(request, None)

    @staticmethod
    def _account(values: Mapping[str, Any]) -> dict[str, Any]:
        return {("password" if name == "new_password" else name): value for name, value in values.items()}


class ApiKeyForm(WorkspaceForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[scope.value for scope in Scope],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("A key never has more rights than its user."),
    )
    tools = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget,
        help_text=_("The only tools that the key may use; none: all that you may run."),
    )
    lifetime = forms.ChoiceField(
        label=_("Expires after"), choices=KEY_LIFETIMES, required=False, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = self.fields.get("tools")
        if isinstance(offered, forms.MultipleChoiceField):
            offered.choices = _by_kind(visible_tools(self.principal))

    class Meta:
        model = ApiKey
        fields = ("name",)


def _by_kind(tools: Iterable[SharedModel]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Choices in groups, one for each kind."""
    kinds = groupby(tools, key=lambda tool: str(tool._meta.verbose_name))
    return [(kind, [(str(tool.pk), str(tool)) for tool in found]) for kind, found in kinds]


@admin.register(ApiKey)
class ApiKeyAdmin(WorkspaceModelAdmin):
    """One's own keys; an admin of the workspace sees and revokes all of them."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "user", "state_label", "scope_list", "last_used", "expires")
    list_select_related = ("user",)
    search_fields = ("name", "public_id")
    add_permission = Permission.READ
    change_permission = None
    delete_permission = None
    ordering = ("-created_at", "-id")
    actions_detail = ("revoke",)
    actions = ("revoke_chosen",)
    empty_title = _("No API keys yet")
    empty_text = _("A program needs a key to use the API. The key is shown once, when you create it.")
    readonly_fields = (
        "prefix", "user", "state_label", "scope_list", "tool_list", "created_at", "last_used", "expires",
        "revoked_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> Any:
        principal = self.principal(request)
        rows = super().get_queryset(request).select_related("user")
        return rows if principal.allows(Permission.ADMINISTER) else rows.filter(user=principal.user)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [(None, {"fields": ["name", *self.readonly_fields] if obj else ["name", "scopes", "tools", "lifetime"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    @display(description=_("Last used"), ordering="last_used_at")
    def last_used(self, obj: ApiKey) -> str:
        return moment(obj.last_used_at) if obj.last_used_at else str(_("never"))

    @display(description=_("Expires"), ordering="expires_at")
    def expires(self, obj: ApiKey) -> str:
        return moment(obj.expires_at) if obj.expires_at else str(_("never"))

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> ApiKey:
        days = values.get("lifetime")
        issued = api_key_issue(
            user=principal.user,
            workspace=Workspace.objects.get(pk=principal.workspace_id),
            name=values["name"],
            scopes=[Scope(scope) for scope in values["scopes"]],
            expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
            tools=tools_for_key(principal, values["tools"]),
        )
        issued.key._issued_text = issued.text  # type: ignore[attr-defined]  # for the answer of this request only
        return issued.key

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """One button: whatever comes next, the key is shown first."""
        extra = {"show_save_and_continue": False, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, extra)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that shows the key. It is not a redirect: a text that is stored nowhere cannot be fetched."""
        context = self.page_context(request, _("Your new API key"), obj, key_text=obj._issued_text, object=obj)
        response = TemplateResponse(request, "admin/accounts/key_issued.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @display(description=_("Begins with"))
    def prefix(self, obj: ApiKey) -> str:
        return f"mk_{obj.public_id}_…"

    @display(description=_("State"), label=KEY_COLOURS)
    def state_label(self, obj: ApiKey) -> tuple[str, str]:
        return obj.state, obj.state

    @display(description=_("Scopes"))
    def scope_list(self, obj: ApiKey) -> str:
        return ", ".join(obj.scopes)

    @display(description=_("Tools"))
    def tool_list(self, obj: ApiKey) -> str:
        """By name; of those that are deleted only how many."""
        if not obj.tools:
            return str(_("All that its user may run"))
        kinds = [model.objects.for_workspace(obj.workspace_id).filter(pk__in=obj.tools) for model in shared_models()]
        names = sorted(str(row) for rows in kinds for row in rows)
        return ", ".join([*names, *([_("%d deleted") % gone] if (gone := len(obj.tools) - len(names)) else [])])

    @action(description=_("Revoke this key"), url_path="revoke", icon="block", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.object_or_404(request, object_id)
        if request.method == "POST":
            api_key_revoke(key)
            messages.success(request, _("The key is revoked; nothing accepts it any more."))
            return redirect("admin:accounts_apikey_changelist")
        context = self.page_context(request, _("Revoke this key?"), key, object=key)
        return TemplateResponse(request, "admin/accounts/key_revoke.html", context)

    @admin.action(description=_("Revoke the chosen keys"))
    def revoke_chosen(self, request: HttpRequest, queryset: Any) -> None:
        for key in queryset:
            api_key_revoke(key)
        messages.success(request, _("Revoked: %(count)d") % {"count": len(queryset)})


@admin.register(AuditEvent)
class AuditEventAdmin(PageModelAdmin):
    """Who changed what, when and from where. Nobody can change it, here or in the database."""

    view_permission = Permission.AUDIT
    page_template = "admin/accounts/audit_event.html"
    list_display = ("created_at", "who", "action_label", "object_type", "object_name", "door", "address")
    list_filter = ("action", "object_type", "door", ("created_at", admin.DateFieldListFilter))
    search_fields = ("object_name", "actor_name", "key_name", "request_id")
    ordering = ("-id",)
    empty_title = _("Nothing has happened yet")
    empty_text = _("Each change to configuration, access and secrets is written down here, and each sign-in.")

    def workspace_rows(self, principal: Principal) -> Any:
        return AuditEvent.objects.for_workspace(principal.workspace_id)

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        changes = [
            (name, change if isinstance(change, dict) else {"before": "•••", "after": _("changed")})
            for name, change in sorted(obj.changes.items())
        ]
        return {"changes": changes}

    @display(description=_("Who"), ordering="actor_name")
    def who(self, obj: AuditEvent) -> str:
        person = obj.actor_name or str(_("the platform"))
        return f"{person} ({obj.key_name})" if obj.key_name else person

    @display(description=_("Action"), ordering="action", label=ACTION_COLOURS)
    def action_label(self, obj: AuditEvent) -> tuple[str, str]:
        return obj.action, obj.action.replace("_", " ")
