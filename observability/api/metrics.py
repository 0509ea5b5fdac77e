"""`/metrics` for Prometheus: figures of the whole platform, and so for superusers alone."""

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from core.access import Permission
from core.api.views import PrincipalMixin
from core.exceptions import PermissionRefused
from observability.metrics import exposition


class _OneForm(BaseContentNegotiation):
    """Prometheus asks for forms of its own first; all that ask get the text format."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class MetricsView(PrincipalMixin, APIView):
    """Takes an API key with the scope read whose user is a superuser, or a superuser's session."""

    permissions: ClassVar[dict[str, Permission | None]] = {"get": Permission.READ}
    content_negotiation_class = _OneForm

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionRefused("Metrics are of the whole platform.", hint="Use the API key of a superuser.")
        return HttpResponse(exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
