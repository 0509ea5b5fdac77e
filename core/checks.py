"""System checks: what must not be forgotten is refused at start."""

from typing import Any

from django.contrib import admin
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from core.admin import WorkspaceModelAdmin, WorkspaceRelatedFilter, relation_of
from core.deployment import network_findings, profile_findings
from core.doctor import Level
from core.models import WorkspaceScopedModel


@register(Tags.security, deploy=True)
def deployment_is_safe(**_: Any) -> list[CheckMessage]:
    """What `doctor` warns of in how people reach the platform, for `manage.py check --deploy`."""
    return [
        Warning(f"{finding.subject}: {finding.detail}.", hint=finding.remedy, id="core.W001")
        for finding in (*profile_findings(), *network_findings())
        if finding.level is not Level.OK
    ]


@register("admin")
def admins_are_scoped(**_: Any) -> list[CheckMessage]:
    """Every ModelAdmin of workspace rows derives from WorkspaceModelAdmin, and its relation filters are scoped."""
    found: list[CheckMessage] = []
    for model, model_admin in admin.site._registry.items():
        if not issubclass(model, WorkspaceScopedModel):
            continue
        if not isinstance(model_admin, WorkspaceModelAdmin):
            found.append(
                Error(
                    f"{type(model_admin).__name__} shows rows of all workspaces.",
                    hint="Derive it from core.admin.WorkspaceModelAdmin.",
                    obj=type(model_admin),
                    id="core.E001",
                )
            )
            continue
        found += _unscoped_filters(model, model_admin)
    return found


def _unscoped_filters(model: Any, model_admin: WorkspaceModelAdmin) -> list[CheckMessage]:
    return [
        Error(
            f"The filter '{one}' of {type(model_admin).__name__} offers rows of all workspaces.",
            hint="Write (field, core.admin.WorkspaceRelatedFilter).",
            obj=type(model_admin),
            id="core.E002",
        )
        for one in model_admin.list_filter
        if _is_unscoped(model, one)
    ]


def _is_unscoped(model: Any, one: Any) -> bool:
    name, chosen = one if isinstance(one, tuple) else (one, None)
    if not isinstance(name, str) or relation_of(model, name) is None:
        return False
    return not (isinstance(chosen, type) and issubclass(chosen, WorkspaceRelatedFilter))
