"""Routes of session, workspaces and keys."""

from django.urls import path

from accounts.api.members import GroupViewSet, MemberViewSet
from accounts.api.views import ApiKeyViewSet, AuditEventViewSet, SessionView, WorkspaceViewSet
from core.api.routes import resource, verb

urlpatterns = [
    path("session/", SessionView.as_view(), name="session"),
    *resource("workspaces", WorkspaceViewSet),
    *resource("members", MemberViewSet),
    *resource("groups", GroupViewSet),
    *resource("api-keys", ApiKeyViewSet),
    verb("api-keys/<str:id>/rotate", ApiKeyViewSet, "api-keys-rotate", post="rotate"),
    *resource("audit-events", AuditEventViewSet),
]
