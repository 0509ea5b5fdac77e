"""Session, workspaces and API keys."""

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.authentication import Credentials
from accounts.api.examples import API_KEYS, AUDIT_EVENTS, SESSION, WORKSPACES
from accounts.api.serializers import (
    ApiKeySerializer,
    AuditEventSerializer,
    IssuedKeySerializer,
    LoginSerializer,
    RotationSerializer,
    SessionSerializer,
    WorkspaceSerializer,
)
from accounts.models import ApiKey, AuditEvent, User, Workspace
from accounts.selectors import memberships_of
from accounts.services import (
    IssuedKey,
    api_key_issue,
    api_key_revoke,
    api_key_rotate,
    require_superuser,
    workspace_create,
    workspace_rename,
)
from accounts.sharing import require_within, tools_for_key
from core.access import Permission, Principal, Scope
from core.api.preconditions import etag, expected_version
from core.api.views import ListRetrieve, PrincipalMixin
from core.exceptions import AuthenticationRequired, NotFound, PermissionRefused
from core.ids import is_uuid


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class SessionView(PrincipalMixin, APIView):
    """Who am I; log in; log out."""

    examples = SESSION
    permissions = {"get": None, "delete": None}

    def permission_for(self, action: str) -> Permission | None:
        return None

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method == "POST" else list(super().get_permissions())

    def get_authenticators(self) -> list[Any]:
        """Logging in needs no credentials, and stale ones must not stand in its way."""
        return [] if self.request and self.request.method == "POST" else super().get_authenticators()

    def handle_exception(self, exc: Exception) -> Response:
        """A visitor's 401 brings the CSRF token: a page on another origin cannot read the cookie, and needs one to log
        in."""
        response = super().handle_exception(exc)
        if response.status_code == 401 and self.request.method == "GET":
            response.data["csrf_token"] = get_token(self.request._request)
        return response

    def _show(self, request: Request, user: User) -> Response:
        body = {"user": user, "workspaces": memberships_of(user), "csrf_token": get_token(request._request)}
        return Response(SessionSerializer(body).data)

    @extend_schema(operation_id="session_retrieve", responses=SessionSerializer)
    def get(self, request: Request) -> Response:
        """The caller, their workspaces and roles, and the CSRF token. The 401 of a visitor has that token too."""
        assert isinstance(request.user, User)
        return self._show(request, request.user)

    @extend_schema(operation_id="session_create", request=LoginSerializer, responses=SessionSerializer, auth=[])
    def post(self, request: Request) -> Response:
        """Log in with e-mail and password; sets the session cookie."""
        self._check_csrf(request._request)
        form = LoginSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user = authenticate(
            request._request, username=form.validated_data["email"], password=form.validated_data["password"]
        )
        if not isinstance(user, User):
            raise AuthenticationRequired("E-mail or password is wrong.")
        login(request._request, user)
        return self._show(request, user)

    @staticmethod
    def _check_csrf(request: HttpRequest) -> None:
        """A browser that logs in from another origin is refused; a client without cookies has nothing to forge."""
        if not request.COOKIES and "HTTP_ORIGIN" not in request.META:
            return
        refused = csrf_protect(lambda _: HttpResponse(status=204))(request)
        if refused.status_code != 204:
            raise PermissionRefused(
                "The CSRF token is missing or wrong.", hint="Send the cookie csrftoken again in the header X-CSRFToken."
            )

    @extend_schema(operation_id="session_destroy", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Log out."""
        logout(request._request)
        return Response(status=204)


class WorkspaceViewSet(ListRetrieve):
    """The workspaces that the caller belongs to. Creating one takes a superuser."""

    examples = WORKSPACES
    permissions: ClassVar[dict[str, Permission | None]] = dict.fromkeys(
        ("list", "retrieve", "create", "partial_update", "metadata")
    )
    own_rules: ClassVar[dict[str, Permission | tuple[str, str]]] = {
        "create": ("superuser", Scope.MANAGE.value),
        "partial_update": Permission.ADMINISTER,
    }
    preconditions = {"partial_update": True}
    serializer_class = WorkspaceSerializer
    queryset = Workspace.objects.none()
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at")
    search_fields = ("name", "slug")

    def get_queryset(self) -> Any:
        mine = Workspace.objects.filter(memberships__user=self.request.user)
        key = self.credentials.key
        return mine if key is None else mine.filter(pk=key.workspace_id)

    @property
    def credentials(self) -> Credentials:
        """What the request proved; the permission class has seen to it."""
        assert isinstance(self.request.auth, Credentials)
        return self.request.auth

    def get_object(self) -> Workspace:
        reference = self.kwargs["id"]
        field = "pk" if is_uuid(reference) else "slug"
        found: Workspace | None = self.get_queryset().filter(**{field: reference}).first()
        if found is None:
            raise NotFound(f"There is no workspace '{reference[:100]}'.")
        return found

    def create(self, request: Request) -> Response:
        key = self.credentials.key
        if key is not None and Scope.MANAGE not in key.scopes:
            raise PermissionRefused(f"This API key lacks the scope '{Scope.MANAGE.value}'.")
        assert isinstance(request.user, User)
        require_superuser(request.user)
        data = self.valid(self.get_serializer(data=request.data))
        return self.answer(workspace_create(actor=request.user, **data), status=201)

    def partial_update(self, request: Request, id: str) -> Response:
        """Rename the workspace; its slug stays."""
        workspace = self.get_object()
        principal = self.credentials.principal(workspace.slug)
        principal.require(Permission.ADMINISTER)
        expected = expected_version(request, workspace)
        data = self.valid(self.get_serializer(workspace, data=request.data, partial=True))
        name = data.get("name", workspace.name)
        renamed = workspace_rename(workspace, principal=principal, name=name, expected=expected)
        return Response(self.get_serializer(renamed).data, headers={"ETag": etag(renamed)})


class ApiKeyViewSet(ListRetrieve):
    """API keys: one's own; an admin of the workspace sees and revokes all of them."""

    examples = API_KEYS
    model = ApiKey
    permissions: ClassVar[dict[str, Permission | None]] = {
        "list": Permission.READ_OWN,
        "retrieve": Permission.READ_OWN,
        "create": Permission.MANAGE_OWN,
        "destroy": Permission.MANAGE_OWN,
        "rotate": Permission.MANAGE_OWN,
    }
    serializer_class = ApiKeySerializer
    ordering = ("-created_at", "-id")
    ordering_fields = ("name", "created_at")
    search_fields = ("name",)

    def queryset_for(self, principal: Principal) -> Any:
        rows = super().queryset_for(principal).select_related("user")
        return rows if principal.allows(Permission.ADMINISTER) else rows.filter(user=principal.user)

    @extend_schema(request=ApiKeySerializer, responses={201: IssuedKeySerializer})
    def create(self, request: Request) -> Response:
        """Issue a key for the caller. Its text is in this answer and nowhere else; a key can hand on only its own
        scopes and tools."""
        data = self.valid(ApiKeySerializer(data=request.data))
        issued = api_key_issue(
            user=self.principal.user,
            workspace=Workspace.objects.get(pk=self.principal.workspace_id),
            name=data["name"],
            scopes=self._allowed_scopes(data.get("scopes")),
            expires_at=data.get("expires_at"),
            tools=tools_for_key(self.principal, data.get("tools", ())),
        )
        return self._show_once(issued)

    @staticmethod
    def _show_once(issued: IssuedKey) -> Response:
        body = {**ApiKeySerializer(issued.key).data, "key": issued.text}
        return Response(body, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(request=RotationSerializer, responses={201: IssuedKeySerializer})
    def rotate(self, request: Request, id: str) -> Response:
        """Issue the successor of one's own key: same name, scopes and tools, new text. The old key works until the
        overlap ends."""
        key = self.get_object()
        if key.user_id != self.principal.user_id:
            raise PermissionRefused("Only the user of a key can rotate it.", hint="Revoke it instead.")
        data = self.valid(RotationSerializer(data=request.data))
        self._allowed_scopes(key.scopes)
        require_within(self.principal, key.tools)
        overlap = timedelta(seconds=data["overlap_seconds"])
        return self._show_once(api_key_rotate(key, overlap=overlap, expires_at=data.get("expires_at")))

    def _allowed_scopes(self, wanted: list[str] | None) -> list[Scope]:
        scopes = sorted(self.principal.scopes) if wanted is None else [Scope(scope) for scope in wanted]
        beyond = [scope for scope in scopes if scope not in self.principal.scopes]
        if beyond:
            raise PermissionRefused(f"This API key lacks the scope '{beyond[0].value}' and cannot hand it on.")
        return scopes

    def destroy(self, request: Request, id: str) -> Response:
        """Revoke the key. It stays in the list, so that its past use can be explained."""
        api_key_revoke(self.get_object())
        return Response(status=204)


class AuditEventViewSet(ListRetrieve):
    """Who changed what in this workspace, when and from where; and how its members signed in."""

    examples = AUDIT_EVENTS
    model = AuditEvent  # type: ignore[assignment]  # kept by itself: its rows refer to nothing
    permissions: ClassVar[dict[str, Permission | None]] = {"list": Permission.AUDIT, "retrieve": Permission.AUDIT}
    serializer_class = AuditEventSerializer
    ordering = ("-id",)
    ordering_fields = ("created_at",)
    search_fields = ("object_name", "actor_name", "key_name")
    filterset_fields = {
        "action": ["exact", "in"],
        "object_type": ["exact"],
        "object_id": ["exact"],
        "actor_name": ["exact"],
        "key_id": ["exact"],
        "door": ["exact"],
        "request_id": ["exact"],
        "created_at": ["gte", "lte"],
    }
