"""Amounts as people read them."""

from decimal import Decimal

import pytest

from core.admin_display import money_about, plain_amount


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00"), ("12.5", "12.50"), ("1234.567", "1,234.57"), ("0.93846128", "0.938"), ("0.00231", "0.00231"),
        ("0.00001887", "0.0000189"), ("0.9996", "1.00"), ("-0.5", "-0.50"),
    ],
)  # fmt: skip
def test_amounts_keep_the_digits_that_say_something(amount, shown):
    assert money_about(Decimal(amount), "USD") == f"{shown}\u00a0USD"


def test_an_unknown_amount_is_no_zero():
    assert money_about(None, "USD") == "—"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("2.500000", "2.50"), ("10.000000", "10.00"), ("0.003750", "0.00375"), ("0.000001", "0.000001"), ("-", "-")],
)
def test_zeros_at_the_end_are_left_out(text, shown):
    assert plain_amount(text) == shown
