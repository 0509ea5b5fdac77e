"""Errors of what is watched here."""

from core.exceptions import Conflict, MagnetError


class BudgetExceeded(MagnetError):
    """A call would spend more than a budget has left. busy: only because calls that run now hold the rest."""

    code = "budget_exceeded"
    status = 429
    title = "Budget exceeded"

    def __init__(self, detail: str, *, hint: str, retry_after: int, busy: bool = False) -> None:
        super().__init__(detail, hint=hint, retry_after=retry_after)
        self.busy = busy


class BudgetUncountable(Conflict):
    """A budget in money applies and the model has no price in its currency: nobody could say what is left."""

    code = "price_unknown"
