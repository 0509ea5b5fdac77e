"""Budgets: how much may be spent in a day or month, what was, and what calls that run now have reserved."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from core.models import ConfigurationModel, TimestampedModel, WorkspaceScopedModel
from observability.budgets.periods import UnknownZone, zone_named
from observability.choices import BudgetPeriodLength, BudgetScope, BudgetUnit, RunKind

AMOUNT: dict[str, Any] = {"max_digits": 20, "decimal_places": 8}


class Budget(ConfigurationModel):
    """How much a workspace, an API key or a tool may spend in each day or month.

    It counts from its creation, and anew when period, zone or unit change. A call counts to the period in which it
    began.
    """

    scope = models.CharField(_("for"), max_length=10, choices=BudgetScope.choices, default=BudgetScope.WORKSPACE)
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("API key")
    )
    target_kind = models.CharField(_("kind of tool"), max_length=50, choices=RunKind.choices, blank=True)
    target_id = models.UUIDField(_("tool"), null=True, blank=True)
    period = models.CharField(
        _("period"), max_length=5, choices=BudgetPeriodLength.choices, default=BudgetPeriodLength.MONTH
    )
    zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        help_text=_("In which days and months begin: a name such as Europe/Paris."),
    )
    unit = models.CharField(_("unit"), max_length=10, choices=BudgetUnit.choices, default=BudgetUnit.MONEY)
    currency = models.CharField(
        _("currency"),
        max_length=3,
        default="USD",
        blank=True,
        validators=[RegexValidator(r"^[A-Z]{3}\Z", _("Three capital letters, such as USD."))],
        help_text=_("Of a budget in money. Models with prices in another currency, or without one, are refused."),
    )
    limit = models.DecimalField(
        _("limit"),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Tokens (input and output), or money. At 0 nothing may be spent."),
        **AMOUNT,
    )
    warn_percent = models.PositiveSmallIntegerField(
        _("warn at (%)"),
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("Once a period: on the overview, in the log and in the audit log."),
    )
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Off: it counts and refuses nothing."))

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("budget")
        indexes = [models.Index(fields=["workspace", "is_active"], name="observability_budget_active")]

    def clean(self) -> None:
        super().clean()
        errors: dict[str, Any] = {}
        if (self.scope == BudgetScope.API_KEY) != (self.api_key_id is not None):
            errors["api_key"] = _("Name the key of a budget for an API key, and of no other.")
        named = (bool(self.target_id), bool(self.target_kind))
        if named != (self.scope == BudgetScope.TOOL,) * 2:
            errors["target_id"] = _("Name the tool of a budget for a tool, and of no other.")
        if self.unit == BudgetUnit.MONEY and not self.currency:
            errors["currency"] = _("A budget in money has a currency.")
        if self.unit == BudgetUnit.TOKENS and self.limit is not None and self.limit != int(self.limit):
            errors["limit"] = _("Tokens are whole.")
        try:
            zone_named(self.zone)
        except UnknownZone as error:
            errors["zone"] = str(error)
        if errors:
            raise ValidationError({name: ValidationError(text, code="invalid") for name, text in errors.items()})


class BudgetPeriod(WorkspaceScopedModel, TimestampedModel):
    """A day or month of a budget. reserved: of calls that run now. warned_at, exhausted_at: said once."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    starts_at = models.DateTimeField(_("begins"))
    ends_at = models.DateTimeField(_("ends"))
    unit = models.CharField(max_length=10, choices=BudgetUnit.choices)
    currency = models.CharField(max_length=3, blank=True)
    used = models.DecimalField(_("used"), default=Decimal(0), **AMOUNT)
    reserved = models.DecimalField(_("reserved"), default=Decimal(0), **AMOUNT)
    warned_at = models.DateTimeField(_("warned"), null=True, blank=True)
    exhausted_at = models.DateTimeField(_("used up"), null=True, blank=True)

    class Meta(WorkspaceScopedModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "starts_at", "ends_at", "unit", "currency"], name="observability_period_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.budget} {self.starts_at:%Y-%m-%d}"


class Reservation(WorkspaceScopedModel):
    """What a call may spend at most, while it runs. released_at: taken back, because its process died."""

    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="reservations")
    amount = models.DecimalField(**AMOUNT)
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta(WorkspaceScopedModel.Meta):
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=models.Q(released_at__isnull=True),
                name="observability_held",
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.period_id}"
