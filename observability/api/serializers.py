"""What the API shows of jobs, runs and traces."""

from typing import Any

from rest_framework import serializers

from observability.choices import RunStatus
from observability.contents import without_contents
from observability.models import Job, Run, Span, Trace
from observability.selectors import may_read_content

MAX_TURN_CHARS = 20_000
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

    input = serializers.DictField(read_only=True, allow_null=True)
    content = serializers.CharField(read_only=True, allow_null=True)
    problem = serializers.DictField(read_only=True, allow_null=True, help_text="Why it failed, as a problem object.")

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id", "kind", "target_id", "target_slug", "variant", "status", "finish_reason", "resolution", "input",
            "content", "model", "trace_id", "last_seq", "started_at", "finished_at", "duration_ms", "problem",
            "capture", "emptied_at",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields

    def to_representation(self, instance: Run) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if not may_read_content(instance, self.context["view"].principal):
            shown.update(dict.fromkeys(set(CONTENT_FIELDS) & set(shown)))
        return shown


class RunDetailSerializer(RunSerializer):
    """A run with its answer object."""

    answer = serializers.DictField(read_only=True, allow_null=True)

    class Meta(RunSerializer.Meta):
        fields: tuple[str, ...] = (*RunSerializer.Meta.fields, "answer")
        read_only_fields: tuple[str, ...] = fields


class TurnSerializer(serializers.Serializer[Any]):
    """An earlier message of a dialogue."""

    role = serializers.ChoiceField(choices=["user", "assistant"])
    content = serializers.CharField(max_length=MAX_TURN_CHARS)


class UsageSerializer(serializers.Serializer[Any]):
    """What a run has spent. cost is null where the model has no price."""

    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    estimated = serializers.BooleanField()
    cost = serializers.CharField(allow_null=True)
    currency = serializers.CharField()


class RunAnswer(serializers.Serializer[Any]):
    """What the answers of all runs say, in JSON and in the last event of a stream."""

    id = serializers.UUIDField(help_text="The run.")
    kind = serializers.CharField()
    status = serializers.ChoiceField(choices=RunStatus.values)
    finish_reason = serializers.CharField(allow_null=True)
    content = serializers.CharField()
    degraded = serializers.ListField(child=serializers.CharField())
    tool_calls = serializers.ListField(child=serializers.DictField())
    usage = UsageSerializer()
    variant = serializers.IntegerField()
    model = serializers.CharField()
    conversation_id = serializers.UUIDField(allow_null=True)
    message_id = serializers.UUIDField(allow_null=True)
    trace_id = serializers.UUIDField(allow_null=True)
    duration_ms = serializers.IntegerField()


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
    """A trace with its spans; `parent_id` makes the tree. Contents are left out for a viewer who is not its author."""

    attributes = serializers.DictField(read_only=True, help_text="What the trace belongs to, such as its job.")
    run_ids = serializers.ListField(child=serializers.UUIDField(), read_only=True)
    spans = SpanSerializer(many=True, read_only=True)

    class Meta(TraceSerializer.Meta):
        fields: tuple[str, ...] = (*TraceSerializer.Meta.fields, "attributes", "run_ids", "spans")
        read_only_fields: tuple[str, ...] = fields

    def to_representation(self, instance: Trace) -> dict[str, Any]:
        instance.run_ids = [run.pk for run in instance.runs.all()]  # type: ignore[attr-defined]  # for the field above
        shown = super().to_representation(instance)
        if not may_read_content(instance, self.context["view"].principal):
            for span in shown["spans"]:
                span["attributes"] = without_contents(span["attributes"])
        return shown
