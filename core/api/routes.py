"""The URL patterns of a resource. Collections and details end with a slash, verbs do not."""

from typing import Any

from django.urls import URLPattern, path
from rest_framework.viewsets import ViewSetMixin

COLLECTION: dict[str, str] = {"get": "list", "post": "create"}
DETAIL = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}


def resource(name: str, viewset: type[ViewSetMixin]) -> list[URLPattern]:
    """List and detail of a resource, with the methods that the viewset has."""
    return [
        path(f"{name}/", _view(viewset, COLLECTION), name=f"{name}-list"),
        path(f"{name}/<str:id>/", _view(viewset, DETAIL), name=f"{name}-detail"),
    ]


def variants(name: str, viewset: type[ViewSetMixin]) -> list[URLPattern]:
    """The variants of a resource."""
    root = f"{name}/<str:id>/variants/"
    return [
        path(root, _view(viewset, COLLECTION), name=f"{name}-variants"),
        path(f"{root}<int:n>/", _view(viewset, DETAIL), name=f"{name}-variant"),
        path(f"{root}<int:n>/publish", viewset.as_view({"post": "publish"}), name=f"{name}-publish"),
        path(f"{root}<int:n>/activate", viewset.as_view({"post": "activate"}), name=f"{name}-activate"),
        path(f"{root}<int:a>/diff/<int:b>", viewset.as_view({"get": "diff"}), name=f"{name}-diff"),
    ]


def verb(route: str, viewset: type[ViewSetMixin], name: str, **actions: str) -> URLPattern:
    """A verb on a resource: `verb("documents/<str:id>/retry", DocumentViewSet, "documents-retry", post="retry")`."""
    pattern: URLPattern = path(route, _view(viewset, actions), name=name)
    return pattern


def _view(viewset: Any, actions: dict[str, str]) -> Any:
    return viewset.as_view({method: action for method, action in actions.items() if hasattr(viewset, action)})
