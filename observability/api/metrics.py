"""`/metrics` for Prometheus: figures of the whole platform, and so for superusers alone."""

from typing import ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework.request import Request
from rest_framework.views import APIView

from core.access import Permission
from core.api.negotiation import OneForm
from core.api.views import PrincipalMixin
from core.exceptions import PermissionRefused
from observability.metrics import exposition


class MetricsView(PrincipalMixin, APIView):
    """Takes an API key with the scope read whose user is a superuser, or a superuser's session."""

    permissions: ClassVar[dict[str, Permission | None]] = {"get": Permission.READ}
    content_negotiation_class = OneForm  # Prometheus asks for forms of its own first

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionRefused("Metrics are of the whole platform.", hint="Use the API key of a superuser.")
        return HttpResponse(exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
