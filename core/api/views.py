"""The base of all REST views: who calls, in which workspace, with what right; which rows exist for them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from core.access import Permission, Principal
from core.api.examples import NONE, Examples
from core.api.idempotency import answered_once, attempt_of
from core.api.preconditions import etag, expected_version
from core.context import add_log_fields
from core.database import few_at_once
from core.exceptions import NotFound
from core.ids import is_uuid
from core.limits import Rate, Standing, count_request
from core.models import VersionedModel, WorkspaceScopedModel
from core.versions import lock_version

READING = frozenset({"list", "retrieve", "diff", "get", "metadata", "options", "head"})


def find(rows: Any, reference: str) -> Any:
    """The row that a URL names by id, or by slug where the model has one. Raises NotFound."""
    model = rows.model
    if is_uuid(reference):
        found = rows.filter(pk=reference).first()
    else:
        found = rows.filter(slug=reference).first() if hasattr(model, "slug") else None
    if found is None:
        raise missing(model, reference)
    return found


def missing(model: type[Model], reference: str) -> NotFound:
    """The error for a name or an id that nothing has here."""
    return NotFound(f"There is no {model._meta.verbose_name} '{reference[:100]}'.")


class PrincipalMixin:
    """Gives a view its `principal` and the permission that each action needs."""

    permissions: ClassVar[Mapping[str, Permission | None]] = {}
    own_rules: ClassVar[Mapping[str, Permission | tuple[str, str]]] = {}
    """Of actions without a permission that ask by themselves: what they ask for, for the authorisation matrix."""
    preconditions: ClassVar[Mapping[str, bool]] = {}
    """Actions that read If-Match; True: they demand it."""
    once: ClassVar[bool] = False
    """Whether a POST takes an Idempotency-Key."""
    follows_job: ClassVar[bool] = True
    """Whether a 202 names its job in Location."""
    calls_models: ClassVar[frozenset[str]] = frozenset()
    """Actions that ask a model's provider, and answer 502 when it fails."""
    examples: ClassVar[Examples] = NONE
    rate: ClassVar[Rate | None] = None
    standing: Standing | None = None
    request: Any

    def permission_for(self, action: str) -> Permission | None:
        if action in self.permissions:
            return self.permissions[action]
        return Permission.READ if action in READING else Permission.MANAGE

    @cached_property
    def principal(self) -> Principal:
        """The caller in the workspace of its key, or in the one that X-Workspace names."""
        principal: Principal = self.request.auth.principal(self.request.headers.get("X-Workspace"))
        add_log_fields(workspace=principal.workspace_id, user_id=principal.user_id, key_id=principal.key_id)
        return principal

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who calls, how often, with what right, and only then what form of answer is wanted."""
        view: Any = self
        view.format_kwarg = None
        view.perform_authentication(request)
        self.count(request)
        if any("\x00" in str(value) for value in kwargs.values()):
            raise NotFound("There is nothing here for you.")
        view.check_permissions(request)
        request.accepted_renderer, request.accepted_media_type = view.perform_content_negotiation(request)

    def count(self, request: Request) -> None:
        """Count the request against its caller's minute; a caller who is nobody is refused elsewhere."""
        caller: Any = request.auth
        if caller is None:
            return
        by_method = Rate.READS if request.method in SAFE_METHODS else Rate.WRITES
        self.standing = count_request(caller.identity, self.rate or by_method)
        self.standing.require()

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)  # type: ignore[misc]  # of APIView, which follows
        if self.standing is not None:
            for name, value in self.standing.headers().items():
                response.headers[name] = value
        return response


class OnceMixin:
    """A POST with an Idempotency-Key has its effect once. For views whose handlers are synchronous."""

    once = True
    post: Callable[..., Response]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """DRF looks the handler up behind this, so it is wrapped here: after authentication and permission."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]  # of PrincipalMixin, which follows
        attempt = attempt_of(request)
        if attempt is not None:
            self.post = answered_once(self.post, attempt)


def _headers_alone(response: HttpResponseBase) -> HttpResponse:
    """The answer to HEAD for a stream. It is not begun: a live one would hold the connection to its end."""
    return HttpResponse(status=response.status_code, headers=dict(response.headers))


class AsyncAPIView(PrincipalMixin, APIView):
    """An APIView whose handlers are coroutines: for runs, which stream. Authentication and rendering stay DRF's."""

    async def dispatch(  # type: ignore[override]  # Django awaits it: the handlers are coroutines
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        drf_request = self.initialize_request(request, *args, **kwargs)
        self.request = drf_request
        self.headers = self.default_response_headers
        try:
            async with few_at_once():
                await sync_to_async(self._admit)(drf_request, *args, **kwargs)
            handler: Callable[..., Any] = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
            if handler == self.http_method_not_allowed:
                handler(drf_request)
            response = await handler(drf_request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # DRF's own contract: handle_exception answers or raises again
            response = await sync_to_async(self.handle_exception)(error)
        self.response = self.finalize_response(drf_request, response, *args, **kwargs)
        return _headers_alone(self.response) if request.method == "HEAD" and self.response.streaming else self.response

    def _admit(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.initial(request, *args, **kwargs)
        if request.method == "POST" and hasattr(self, "post"):
            self.begin(request, *args, **kwargs)

    def begin(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """What a POST does in the database before its handler is awaited, in the thread in which it was admitted."""

    async def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]  # awaited
        """What the view takes, as DRF tells it."""
        return await sync_to_async(super().options)(request, *args, **kwargs)

    def renewed_principal(self) -> Principal:
        """The caller as their credentials stand now, with the right that this view needs.

        Raises AuthenticationRequired or PermissionRefused when that is gone: for answers that outlive their request.
        """
        credentials: Any = self.request.auth
        principal: Principal = credentials.renewed().principal(self.principal.workspace_slug)
        needed = self.permission_for((self.request.method or "").lower())
        if needed is not None:
            principal.require(needed)
        return principal


class WorkspaceViewSet(OnceMixin, PrincipalMixin, GenericViewSet[Any]):
    """Rows of the caller's workspace. `queryset_for` is the only source of rows; other workspaces never show."""

    model: ClassVar[type[WorkspaceScopedModel]]
    lookup_url_kwarg = "id"

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        return self.queryset_for(self.principal)

    def queryset_for(self, principal: Principal) -> Any:
        return self.model.objects.for_workspace(principal.workspace_id)

    def get_object(self) -> Any:
        """The row that the URL names."""
        return find(self.get_queryset(), self.kwargs["id"])

    def valid(self, serializer: BaseSerializer[Any]) -> dict[str, Any]:
        """The checked input."""
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data

    def answer(self, instance: Any, status: int = 200) -> Response:
        """The row as its serializer shows it, with its ETag."""
        headers = {"ETag": etag(instance)} if isinstance(instance, VersionedModel) else {}
        return Response(self.get_serializer(instance).data, status=status, headers=headers)

    def expected(self, instance: VersionedModel) -> int | None:
        """The version that the caller's If-Match names."""
        return expected_version(self.request, instance)


class ListRetrieve(WorkspaceViewSet):
    """Read-only resources."""

    ordering: tuple[str, ...] = ("-id",)
    ordering_fields: tuple[str, ...] = ()
    search_fields: tuple[str, ...] = ()

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, id: str) -> Response:
        return self.answer(self.get_object())


class ConfigurationViewSet(ListRetrieve):
    """A resource that operators configure. Subclasses give the services; the protocol is here."""

    preconditions: ClassVar[Mapping[str, bool]] = {"partial_update": True, "destroy": True}

    def create_object(self, data: dict[str, Any]) -> Any:
        """Call the service that creates the row."""
        raise NotImplementedError

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Any:
        """Call the service that changes the row."""
        raise NotImplementedError

    def delete_object(self, instance: Any) -> None:
        """Call the service that deletes the row, which answers 409 with the list of users where it is in use."""
        raise NotImplementedError

    def create(self, request: Request) -> Response:
        data = self.valid(self.get_serializer(data=request.data))
        return self.answer(self.create_object(data), status=201)

    def partial_update(self, request: Request, id: str) -> Response:
        instance = self.get_object()
        expected = self.expected(instance)
        data = self.valid(self.get_serializer(instance, data=request.data, partial=True))
        return self.answer(self.update_object(instance, data, expected))

    def destroy(self, request: Request, id: str) -> Response:
        instance = self.get_object()
        expected = self.expected(instance)
        with transaction.atomic():
            lock_version(instance, expected=expected)
            self.delete_object(instance)
        return Response(status=204)
