"""`GET usage/`: what calls of models used, by time and group, as JSON or CSV."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.access import Permission, Principal
from core.api.views import PrincipalMixin
from core.exceptions import FieldError, InvalidInput
from observability.api.examples import USAGE
from observability.usage.export import CONTENT_TYPE, csv_response, csv_rows
from observability.usage.labels import labels
from observability.usage.query import GroupBy, Interval, UsageQuery, choice_of, filters_of, period_of, zone_of
from observability.usage.report import COUNTED, TOKENS, Figures, Level, UsageRow, usage_report, whole

FORMATS = ("json", "csv")
PARAMETERS = ("from", "to", "zone", "interval", "group_by", "format", *GroupBy.values)


class CsvRenderer(BaseRenderer):
    """Lets a client ask for `text/csv`; the view answers with a stream of its own, and errors stay JSON problems."""

    media_type = CONTENT_TYPE
    format = "csv"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        return JSONRenderer().render(data, accepted_media_type, renderer_context)


class CostSerializer(serializers.Serializer[Any]):
    currency = serializers.CharField()
    amount = serializers.DecimalField(max_digits=24, decimal_places=8)


class FiguresSerializer(serializers.Serializer[Any]):
    """Tokens in tokens, time in milliseconds. Percentiles are within 2 % of the exact ones."""

    calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # the field's name, not the serializer's errors
    estimated = serializers.IntegerField(help_text="Calls whose tokens were estimated: the vendor told none.")
    unpriced = serializers.IntegerField(help_text="Calls whose price is not known; they are not in the cost.")
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField(help_text="Part of input_tokens.")
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField(help_text="Part of output_tokens.")
    cost = CostSerializer(many=True)
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class UsageRowSerializer(FiguresSerializer):
    start = serializers.DateTimeField(allow_null=True, help_text="Null without an interval.")
    group = serializers.CharField(allow_null=True, help_text="An id or slug; empty for calls that have none.")
    group_name = serializers.CharField(allow_null=True)


class UsageReportSerializer(serializers.Serializer[Any]):
    """The period is widened to full hours (UTC). Rows without calls are left out."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="The first moment behind the period.")
    zone = serializers.CharField()
    interval = serializers.ChoiceField(choices=Interval.choices, allow_null=True)
    group_by = serializers.ChoiceField(choices=GroupBy.choices, allow_null=True)
    totals = FiguresSerializer()
    results = UsageRowSerializer(many=True)


def query_of(principal: Principal, parameters: Mapping[str, str]) -> UsageQuery:
    """The query that a URL asks. Raises InvalidInput."""
    zone = zone_of(parameters.get("zone", ""))
    period = period_of(parameters.get("from", ""), parameters.get("to", ""), zone, timezone.now())
    return UsageQuery(
        workspace_id=principal.workspace_id,
        period=period,
        interval=choice_of(Interval, "interval", parameters.get("interval", "")),
        group_by=choice_of(GroupBy, "group_by", parameters.get("group_by", "")),
        filters=filters_of(parameters),
    )


def level_of_rows(query: UsageQuery) -> Level:
    """How the rows of a query are split."""
    if query.interval is None:
        return Level.WHOLE if query.group_by is None else Level.GROUP
    return Level.STEP if query.group_by is None else Level.BOTH


def figures_json(figures: Figures) -> dict[str, Any]:
    """Figures as the API shows them."""
    latency = figures.latency
    return {
        **{name: getattr(figures, name) for name in (*COUNTED, *TOKENS)},
        "cost": [{"currency": currency, "amount": amount} for currency, amount in sorted(figures.cost.items())],
        **{
            f"{name}_ms": None if value is None else round(value, 1)
            for name, value in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))
        },
    }


def _row_json(row: UsageRow, names: Mapping[str, str]) -> dict[str, Any]:
    name = None if row.group is None else names[row.group]
    start = row.start.isoformat() if row.start else None
    return {"start": start, "group": row.group, "group_name": name, **figures_json(row.figures)}


class UsageView(PrincipalMixin, APIView):
    """Usage of the workspace."""

    examples = USAGE
    permissions: ClassVar[dict[str, Permission | None]] = {"get": Permission.READ}
    renderer_classes = (JSONRenderer, CsvRenderer)

    @extend_schema(
        operation_id="usage_report",
        parameters=[
            OpenApiParameter("from", str, description="A date or time; 30 days before `to` when it is left out."),
            OpenApiParameter("to", str, description="A date, which counts as a whole, or a time; now when left out."),
            OpenApiParameter("zone", str, description="IANA name, UTC when left out: where days begin."),
            OpenApiParameter("interval", str, enum=Interval.values, description="Rows by steps of time."),
            OpenApiParameter("group_by", str, enum=GroupBy.values, description="Rows by what."),
            OpenApiParameter("format", str, enum=FORMATS, description="`csv`, like `Accept: text/csv`, is a file."),
            *(OpenApiParameter(one, str, description=f"Only calls of this {one}.") for one in GroupBy.values),
        ],
        responses={
            200: UsageReportSerializer,
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The rows as a file."),
        },
    )
    def get(self, request: Request) -> Any:
        """Tokens, cost, latency and errors, from sums and from the calls of the last minute.

        Groups are written as `group_by` answers them: a model is `provider/model`, a tool `kind:slug`, a key and a
        user an id.
        """
        parameters = self._parameters(request)
        query = query_of(self.principal, parameters)
        level = level_of_rows(query)
        measured = usage_report(query, [*{level, Level.WHOLE}])
        rows = measured[level]
        groups = {row.group for row in rows if row.group is not None}
        names = labels(query.group_by, groups, query.workspace_id) if query.group_by else {}
        if self._wants_csv(request, parameters):
            return csv_response(csv_rows(rows, query.group_by, names))
        report = {
            "start": query.period.start.astimezone(query.period.zone).isoformat(),
            "end": query.period.end.astimezone(query.period.zone).isoformat(),
            "zone": query.period.zone.key,
            "interval": query.interval,
            "group_by": query.group_by,
            "totals": figures_json(whole(measured)),
            "results": [_row_json(row, names) for row in rows],
        }
        return Response(UsageReportSerializer(report).data)

    def _parameters(self, request: Request) -> dict[str, str]:
        """Each known parameter once; the unknown is a 400 that names the known."""
        errors = []
        for name, values in request.query_params.lists():
            if name not in PARAMETERS:
                known = ", ".join(sorted(PARAMETERS))
                errors.append(FieldError(f"/{name[:100]}", "unknown", f"Unknown filter. Known: {known}."))
            elif len(values) > 1:
                errors.append(FieldError(f"/{name}", "repeated", "Give it once."))
        if errors:
            raise InvalidInput(errors[0].detail, errors=errors)
        return {name: str(request.query_params[name]) for name in request.query_params}

    def _wants_csv(self, request: Request, parameters: Mapping[str, str]) -> bool:
        wanted = parameters.get("format")
        if wanted is not None and wanted not in FORMATS:
            text = f"Known: {', '.join(FORMATS)}."
            raise InvalidInput(text, errors=[FieldError("/format", "invalid", text)])
        return wanted == "csv" if wanted else request.accepted_media_type == CONTENT_TYPE
