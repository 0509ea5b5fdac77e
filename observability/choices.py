"""States and kinds of jobs, runs, traces and usage."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class JobStatus(TextChoices):
    PENDING = "pending", _("Pending")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class RunKind(TextChoices):
    MODEL = "model", _("Model")
    PROMPT_TEMPLATE = "prompt_template", _("Prompt template")
    RAG_TOOL = "rag_tool", _("RAG tool")
    RETRIEVAL_TOOL = "retrieval_tool", _("Retrieval tool")


class RunStatus(TextChoices):
    RUNNING = "running", _("Running")
    COMPLETED = "completed", _("Completed")
    INCOMPLETE = "incomplete", _("Incomplete")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class SpanStatus(TextChoices):
    OK = "ok", _("OK")
    ERROR = "error", _("Error")


class ObservabilityLevel(TextChoices):
    """How much of what was said is kept (ADR 15)."""

    NONE = "none", _("None: no contents, also not of the run itself once it is over")
    METADATA = "metadata", _("Metadata: the run keeps question and answer, its trace only ids and sizes")
    FULL = "full", _("Full: the trace keeps prompts, passages and answers, too")


class Grain(TextChoices):
    """The span of time that one row of rolled-up usage covers, in UTC."""

    HOUR = "hour", _("Hour")
    DAY = "day", _("Day")


class Operation(TextChoices):
    """The names of OpenTelemetry's `gen_ai.operation.name`, and ours where it has none."""

    CHAT = "chat", _("Chat")
    EMBEDDINGS = "embeddings", _("Embeddings")
    RETRIEVAL = "retrieval", _("Retrieval")
    RERANK = "rerank", _("Rerank")
    RUN = "run", _("Run")


class ScheduleStatus(TextChoices):
    IDLE = "idle", _("Waiting")
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")


class Outcome(TextChoices):
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")


class BudgetScope(TextChoices):
    WORKSPACE = "workspace", _("The workspace")
    API_KEY = "api_key", _("An API key")
    TOOL = "tool", _("A tool")


class BudgetPeriodLength(TextChoices):
    DAY = "day", _("Day")
    MONTH = "month", _("Month")


class BudgetUnit(TextChoices):
    TOKENS = "tokens", _("Tokens")
    MONEY = "money", _("Money")
