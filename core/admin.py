"""Bases of the admin: rows of one workspace, rights by role, writes through services."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.db import models
from django.http import Http404, HttpRequest
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from core.access import Permission, Principal
from core.admin_forms import VERSION_FIELD, WorkspaceForm
from core.exceptions import MagnetError, PermissionRefused
from core.models import ConfigurationModel, WorkspaceScopedModel
from core.used_by import used_by

LIST_PAGE = 50
CONFLICT_STATUS = 409
TEXT_ROWS = 3


class PrincipalSite(Protocol):
    """What these bases ask of the admin site: who is this, in the workspace that they chose?"""

    def principal(self, request: HttpRequest) -> Principal | None: ...


class WorkspaceRelatedFilter(admin.RelatedFieldListFilter):
    """A filter by a relation that offers only rows of the current workspace."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        assert isinstance(model_admin, WorkspaceModelAdmin)
        rows = model_admin.rows_of(field.related_model, request)
        return [(str(row.pk), str(row)) for row in rows[:200]]


class WorkspaceModelAdmin(ModelAdmin):
    """Rows of the current workspace, and nothing else, in lists, forms, choices, searches and actions.

    Rights follow the role in the workspace: `view_permission` and so on name what each needs; None means nobody.
    Subclasses write through services by overriding `create_object`, `update_object` and `remove_object`.
    """

    form = WorkspaceForm
    admin_site: Any
    view_permission: ClassVar[Permission | None] = Permission.READ
    add_permission: ClassVar[Permission | None] = Permission.MANAGE
    change_permission: ClassVar[Permission | None] = Permission.MANAGE
    delete_permission: ClassVar[Permission | None] = Permission.MANAGE
    list_per_page = LIST_PAGE
    list_filter_submit = True
    compressed_fields = False
    warn_unsaved_form = True
    change_form_before_template = "admin/core/hidden_fields.html"
    empty_title: ClassVar[Any] = ""
    empty_text: ClassVar[Any] = ""
    empty_link: ClassVar[tuple[str, Any] | None] = None

    # Who and where

    def principal(self, request: HttpRequest) -> Principal:
        """The signed-in person in the current workspace. Raises PermissionDenied without one."""
        found: Principal | None = self.admin_site.principal(request)
        if found is None:
            raise PermissionDenied
        return found

    def rows_of(self, model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
        """All rows of a model that exist for this request."""
        registered = self.admin_site._registry.get(model)
        if isinstance(registered, WorkspaceModelAdmin):
            return registered.workspace_rows(self.principal(request))
        if issubclass(model, WorkspaceScopedModel):
            return model.objects.for_workspace(self.principal(request).workspace_id)
        return model._default_manager.none()

    def workspace_rows(self, principal: Principal) -> models.QuerySet[Any]:
        """The only source of rows. Override for a model that is scoped in another way than by `objects`."""
        scoped: models.QuerySet[Any] = self.model.objects.for_workspace(principal.workspace_id)
        return scoped

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = self.workspace_rows(self.principal(request))
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    # Rights

    def _allows(self, request: HttpRequest, permission: Permission | None) -> bool:
        found: Principal | None = self.admin_site.principal(request)
        return found is not None and permission is not None and found.allows(permission)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, self.view_permission)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, self.view_permission)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return self._allows(request, self.add_permission)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, self.change_permission)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, self.delete_permission)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What hangs on a row goes with it: the right to delete the row is enough."""
        to_delete, counts, _, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, set(), protected

    # Choices

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self.choices_for(db_field, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self.choices_for(db_field, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Texts and JSON begin small; the browser lets people draw them larger."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, forms.Textarea):
            field.widget.attrs["rows"] = TEXT_ROWS
        return field

    def choices_for(self, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """The rows that a relation may point to. Narrow it in a subclass; never widen it."""
        return self.rows_of(db_field.related_model, request)

    # Forms and saves

    change_form_outer_after_template = "admin/core/used_by.html"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "_magnet_refusal", None)
        return type(form.__name__, (form,), {"principal": self.principal(request), "refusal": refusal})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The declared fieldsets without the hidden version, which `hidden_fields.html` puts into the form."""
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != VERSION_FIELD]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A slug follows the name while the row is new; afterwards others may know it."""
        return super().get_prepopulated_fields(request, obj) if obj is None else {}

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """A save that a service refuses comes back as the same form with the reason, not as an error page."""
        extra_context = {"show_save_and_add_another": False, **(extra_context or {})}
        found = self.get_object(request, object_id) if object_id else None
        if isinstance(found, ConfigurationModel):
            extra_context["used_by"] = used_by(found)
        try:
            response = super().changeform_view(request, object_id, form_url, extra_context)
        except (MagnetError, ValidationError) as refusal:
            request._magnet_refusal = refusal  # type: ignore[attr-defined]
            response = super().changeform_view(request, object_id, form_url, extra_context)
        form = _form_of(response)
        if form is not None and getattr(form, "is_stale", False):
            response.status_code = CONFLICT_STATUS
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The service gets the row as it is stored: the form has written its input into `obj` already, and a
        service that compares the two (a key goes with its address) would see no change."""
        principal = self.principal(request)
        if change:
            stored = self.get_queryset(request).get(pk=obj.pk)
            saved = self.update_object(principal, stored, form.values(), form.cleaned_data.get(VERSION_FIELD))
        else:
            saved = self.create_object(principal, obj, form.values())
        obj.__dict__.update(saved.__dict__)
        for action in self.get_actions_submit_line(request, obj.pk):
            if action.action_name in request.POST:
                action.method(request, obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The services have saved relations with the row."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove_object(self.principal(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for obj in queryset:
            self.remove_object(self.principal(request), obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        return self.refusable(request, lambda: super(WorkspaceModelAdmin, self).delete_view(request, object_id))

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Any:
        """Call the service that creates the row, and return it."""
        raise PermissionRefused("This cannot be created here.")

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        """Call the service that changes the row. `expected` is the version that the author saw."""
        raise PermissionRefused("This cannot be changed here.")

    def remove_object(self, principal: Principal, obj: Any) -> None:
        """Call the service that deletes the row."""
        raise PermissionRefused("This cannot be deleted here.")

    # Pages

    def refusable(self, request: HttpRequest, act: Callable[[], Any], back: Callable[[], Any] | None = None) -> Any:
        """Run `act`; a refusal becomes a message on the page that `back` redirects to, else on the list."""
        try:
            return act()
        except MagnetError as refusal:
            self.message_user(request, str(refusal), "error")
        except ValidationError as refusal:
            self.message_user(request, " ".join(refusal.messages), "error")
        return back() if back else redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def object_or_404(self, request: HttpRequest, object_id: str) -> Any:
        """A row of the current workspace, for pages of our own. Raises Http404, also for rows of other workspaces."""
        found = self.get_object(request, object_id)
        if found is None or not self.has_view_permission(request, found):
            raise Http404
        return found

    def page_context(self, request: HttpRequest, title: Any, obj: Any = None, **extra: Any) -> dict[str, Any]:
        """The context of a page of our own inside the admin's frame."""
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "original": obj,
            "model_admin": self,
            "is_nav_sidebar_enabled": True,
            **extra,
        }


class ReadOnlyModelAdmin(WorkspaceModelAdmin):
    """Rows that the platform writes and people read."""

    add_permission = None
    change_permission = None
    delete_permission: ClassVar[Permission | None] = None


class PageModelAdmin(ReadOnlyModelAdmin):
    """Rows whose page is drawn by a template of our own instead of a form."""

    page_template: ClassVar[str]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        context = self.page_context(request, str(obj), obj, object=obj, **self.page_extra(request, obj))
        return TemplateResponse(request, self.page_template, context)

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """What the template needs beside the object."""
        raise NotImplementedError

    def page_of(self, obj: Any) -> Any:
        """A redirect to the page of the row."""
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", obj.pk)


def _form_of(response: Any) -> Any:
    context = getattr(response, "context_data", None) or {}
    adminform = context.get("adminform")
    return getattr(adminform, "form", None)


def relation_of(model: type[models.Model], name: str) -> type[models.Model] | None:
    """The model that a field of this name points to, if any."""
    try:
        target = model._meta.get_field(name).related_model
    except FieldDoesNotExist:
        return None
    return target if isinstance(target, type) else None
