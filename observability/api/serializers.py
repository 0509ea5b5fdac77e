"""What the API shows of jobs, runs and traces."""

from typing import Any

from rest_framework import serializers

from observability.models import Job, Run, Span, Trace
from observability.selectors import may_read_content

CONTENT_FIELDS = ("input", "content", "answer")


class ProgressSerializer(serializers.Serializer[Job]):
    done = serializers.IntegerField(source="progress_done")
    total = serializers.IntegerField(source="progress_total")
    unit = serializers.CharField(source="progress_unit")


class JobSerializer(serializers.ModelSerializer[Job]):
    progress = ProgressSerializer(source="*", read_only=True)

    class Meta:
        model = Job
        fields: tuple[str, ...] = (
            "id", "kind", "title", "status", "subject_id", "progress", "reason_code", "reason", "attempts",
            "lost_leases", "heartbeat_at", "lease_expires_at", "created_at", "started_at", "finished_at",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run in short. `input` and `content` are null for a viewer who is not its author."""

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id", "kind", "target_id", "target_slug", "variant", "status", "finish_reason", "resolution", "input",
            "content", "model", "trace_id", "last_seq", "started_at", "finished_at", "duration_ms", "problem",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields

    def to_representation(self, instance: Run) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if not may_read_content(instance, self.context["view"].principal):
            shown.update(dict.fromkeys(set(CONTENT_FIELDS) & set(shown)))
        return shown


class RunDetailSerializer(RunSerializer):
    """A run with its answer object."""

    class Meta(RunSerializer.Meta):
        fields: tuple[str, ...] = (*RunSerializer.Meta.fields, "answer")
        read_only_fields: tuple[str, ...] = fields


class SpanSerializer(serializers.ModelSerializer[Span]):
    class Meta:
        model = Span
        fields: tuple[str, ...] = (
            "id", "parent_id", "name", "operation", "status", "error", "started_at", "duration_ms", "attributes",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class TraceSerializer(serializers.ModelSerializer[Trace]):
    class Meta:
        model = Trace
        fields: tuple[str, ...] = ("id", "name", "kind", "status", "started_at", "duration_ms")
        read_only_fields: tuple[str, ...] = fields


class TraceDetailSerializer(TraceSerializer):
    """A trace with its spans; `parent_id` makes the tree."""

    spans = SpanSerializer(many=True, read_only=True)

    class Meta(TraceSerializer.Meta):
        fields: tuple[str, ...] = (*TraceSerializer.Meta.fields, "spans")
        read_only_fields: tuple[str, ...] = fields
