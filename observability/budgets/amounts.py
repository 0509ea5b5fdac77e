"""Amounts of budgets as people read them."""

from decimal import Decimal

from observability.budget_models import Budget
from observability.choices import BudgetUnit


def amount_text(amount: Decimal, budget: Budget) -> str:
    """`1,000 tokens`, `12.50 EUR`."""
    if budget.unit == BudgetUnit.TOKENS:
        return f"{amount:,.0f} tokens"
    whole, _, decimals = f"{amount:,.8f}".rstrip("0").partition(".")
    return f"{whole}.{decimals.ljust(2, '0')} {budget.currency}"
