from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.exceptions import InvalidInput, PermissionRefused
from core.ids import uuid7
from llm.catalogue import SHIPPED, known_facts, parse_catalogue, read_catalogue, shipped_catalogue
from llm.choices import ModelKind, PriceSource, ProviderType
from llm.models import ModelPrice
from llm.price_services import price_add
from llm.pricing import PriceList, cost_of, price_entries
from llm.services import model_create
from llm.tests.factories import ModelFactory, ProviderFactory
from observability.choices import Operation
from observability.tracing import Cost, TraceRecorder, UsageEntry
from plugins.contracts import TokenUsage

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def price(**values) -> ModelPrice:
    return ModelPrice(**{"input": Decimal("2.5"), "output": Decimal(10), **values})


def usage(**values) -> TokenUsage:
    return TokenUsage(**{"input_tokens": 1000, "output_tokens": 100, **values})


@pytest.mark.django_db
def test_a_price_that_comes_between_two_answers_of_the_database_is_left_out(model, monkeypatch):
    late = ModelPrice(model_id=uuid7(), input=1, output=1, valid_from=NOW)
    monkeypatch.setattr("llm.pricing.execute", lambda *_statements: ([model], [late]))

    assert PriceList.of(model.workspace_id, [model.pk]).prices == {model.pk: []}


def test_cached_input_is_a_part_of_the_input_and_billed_once():
    one = price(cached_input=Decimal("0.25"))

    assert cost_of(one, usage(cached_input_tokens=400)) == Decimal("0.0026")  # 600 × 2.5 + 400 × 0.25 + 100 × 10


def test_cached_input_without_a_price_of_its_own_costs_as_input():
    assert cost_of(price(), usage(cached_input_tokens=400)) == cost_of(price(), usage()) == Decimal("0.0035")


def test_reasoning_is_priced_apart_only_where_it_has_a_price():
    spent = usage(reasoning_tokens=40)

    assert cost_of(price(), spent) == Decimal("0.0035")
    assert cost_of(price(reasoning=Decimal(20)), spent) == Decimal("0.0039")  # 60 × 10 + 40 × 20


def test_a_part_that_is_said_to_be_larger_than_its_whole_never_makes_money_back():
    assert cost_of(price(cached_input=0), usage(cached_input_tokens=5000)) == Decimal("0.001")


def test_the_cost_is_rounded_once_half_up_to_eight_decimals():
    assert cost_of(price(input=Decimal("0.005"), output=0), usage(input_tokens=1, output_tokens=0)) == Decimal("1e-8")
    assert cost_of(price(input=Decimal("0.004999"), output=0), usage(input_tokens=1, output_tokens=0)) == 0


@pytest.fixture
def model(db):
    return ModelFactory(identifier="gpt-4o")


def entry(model, replied="gpt-4o", **values) -> UsageEntry:
    given = {"input_tokens": 1_000_000, "model_id": model.pk, "created_at": NOW, **values}
    return UsageEntry(Operation.CHAT, "openai", "openai", model.slug, replied, **given)


def save_price(model, amount, when=NOW - timedelta(days=1), **values) -> ModelPrice:
    row = price(model=model, workspace=model.workspace, input=Decimal(amount), valid_from=when, **values)
    row.save()
    return row


def costs(model, *entries) -> list[Decimal | None]:
    return [cost.amount for cost in price_entries(model.workspace_id, entries)]


def test_the_price_of_the_moment_of_the_call_counts(model):
    save_price(model, 1, NOW - timedelta(days=2))
    save_price(model, 2, NOW)
    save_price(model, 3, NOW + timedelta(days=1))

    earlier = [entry(model, created_at=NOW + shift) for shift in (timedelta(days=-3), timedelta(seconds=-1))]

    assert costs(model, *earlier, entry(model)) == [None, 1, 2]


def test_of_two_prices_of_one_moment_the_later_row_counts(model):
    save_price(model, 1, NOW)
    save_price(model, 2, NOW)

    assert costs(model, entry(model)) == [2]


def test_the_model_that_really_replied_is_billed(model):
    dated = ModelFactory(provider=model.provider, identifier="gpt-4o-2024-05-13")
    mini = ModelFactory(provider=model.provider, identifier="gpt-4o-mini")
    for row, amount in ((model, 1), (dated, 5), (mini, 7)):
        save_price(row, amount)
    replied = ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "unheard"]

    assert costs(model, *[entry(model, name) for name in replied]) == [1, 1, 5, 7, 7, 1]


def test_a_namesake_of_another_provider_or_kind_is_not_taken(model):
    save_price(ModelFactory(workspace=model.workspace, provider__workspace=model.workspace, identifier="fallback"), 3)
    save_price(ModelFactory(provider=model.provider, identifier="fallback", kind=ModelKind.EMBEDDING), 4)

    assert costs(model, entry(model, "fallback")) == [None]


def test_unknown_is_null_and_a_local_model_is_known_to_cost_nothing(model):
    local = ModelFactory(provider__type=ProviderType.LOCAL, provider__workspace=model.workspace)

    assert costs(model, entry(model), entry(local), replace(entry(model), model_id=None)) == [None, 0, None]


def total(*spent: Cost | None) -> Cost:
    recorder = TraceRecorder("t", "t", NOW and ModelFactory.build().pk)
    for cost in spent:
        recorder.usage.append(UsageEntry(Operation.CHAT, "o", "o", "m", "m", input_tokens=1, cost=cost))
    return recorder.total()


def test_the_sum_of_a_run_is_known_when_every_part_is_and_of_one_currency():
    dollar, euro, free = Cost(Decimal("0.1")), Cost(Decimal("0.2"), "EUR"), Cost(Decimal(0))

    assert total(dollar, dollar, free) == Cost(Decimal("0.2"))
    assert total(euro, free) == Cost(Decimal("0.2"), "EUR")
    assert total(dollar, Cost(None)).amount is None
    assert total(dollar, None).amount is None
    assert total(dollar, euro).amount is None
    assert total().amount is None


# --- the catalogue


def test_the_shipped_catalogue_is_sound_and_says_its_age():
    shipped = read_catalogue(SHIPPED)

    assert shipped == shipped_catalogue()
    assert str(shipped.as_of) in shipped.note
    assert shipped.find("gpt-4.1-mini-2025-04-14", ModelKind.CHAT) == shipped.models["gpt-4.1-mini"]
    assert shipped.find("gpt-4.1-mini", ModelKind.EMBEDDING) is None
    assert known_facts("text-embedding-3-large", ModelKind.EMBEDDING) == {"max_input_tokens": 8191, "dimensions": 3072}
    for known in shipped.models.values():
        if known.price is not None and known.price.cached_input is not None:
            assert known.price.cached_input < known.price.input


@pytest.mark.parametrize(
    "change, word",
    [
        ({"as_of": "yesterday"}, "as_of"),
        ({"models": {"m": {"kind": "chat", "price": {"input": -1}}}}, "price.input"),
        ({"models": {"m": {"kind": "chat", "price": {"input": "NaN"}}}}, "price.input"),
        ({"models": {"m": {"kind": "chat", "price": {"input": 1, "curency": "EUR"}}}}, "curency"),
        ({"models": {"m": {"kind": "speech"}}}, "kind"),
    ],
)
def test_a_catalogue_that_does_not_fit_is_refused_with_the_place(change, word):
    with pytest.raises(InvalidInput, match=word):
        parse_catalogue({"as_of": "2026-01-01", "source": "us", "models": {}, **change}, "file")


@pytest.fixture
def admin(db):
    return principal_of(MembershipFactory(role=Role.ADMIN))


def create(principal, identifier, **provider):
    row = ProviderFactory(workspace_id=principal.workspace_id, workspace=None, **provider)
    return model_create(
        principal=principal,
        values={"name": "M", "slug": "m", "provider": row, "kind": ModelKind.CHAT, "identifier": identifier},
    )


def test_a_known_model_comes_with_its_price(admin):
    row = create(admin, "gpt-4.1-mini").prices.get()

    assert (row.input, row.cached_input, row.output) == (Decimal("0.4"), Decimal("0.1"), Decimal("1.6"))
    assert (row.source, row.currency, row.workspace_id) == (PriceSource.CATALOGUE, "USD", admin.workspace_id)
    assert row.valid_from.date() == shipped_catalogue().as_of


def test_what_is_unknown_or_runs_here_comes_without(admin):
    assert not create(admin, "something-else").prices.exists()
    admin = principal_of(MembershipFactory(role=Role.ADMIN))
    assert not create(admin, "gpt-4.1-mini", type=ProviderType.LOCAL).prices.exists()


def test_an_operator_may_not_set_prices(model):
    operator = principal_of(MembershipFactory(workspace=model.workspace, role=Role.OPERATOR))

    with pytest.raises(PermissionRefused):
        price_add(model, principal=operator, values={"input": 0})
    assert not model.prices.exists()
