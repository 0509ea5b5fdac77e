"""The column of a variant that says how much its runs keep (ADR 15)."""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from observability.choices import ObservabilityLevel


def observability_level_field() -> "models.CharField[Any, Any]":
    """`observability_level`, the same on every kind of variant; `observability.tracing.level_of` reads it."""
    return models.CharField(
        _("observability"),
        max_length=10,
        choices=ObservabilityLevel.choices,
        default=ObservabilityLevel.METADATA,
        db_default=ObservabilityLevel.METADATA.value,
        help_text=_("What is kept of a run once it is over. Usage, cost, times and errors are kept in any case."),
    )
