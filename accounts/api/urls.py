"""Routes of session, workspaces and keys."""

from django.urls import path

from accounts.api.views import ApiKeyViewSet, SessionView, WorkspaceViewSet
from core.api.routes import resource

urlpatterns = [
    path("session/", SessionView.as_view(), name="session"),
    *resource("workspaces", WorkspaceViewSet),
    *resource("api-keys", ApiKeyViewSet),
]
