import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from llm.choices import PriceSource, ProviderType
from llm.models import ModelPrice
from llm.tests.factories import ModelFactory

pytestmark = pytest.mark.django_db
NEWER = """
as_of = 2026-06-01
source = "A test"

[models."gpt-4o"]
kind = "chat"
price = { input = 1.25, output = 5, cached_input = 0.1 }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(NEWER)
    return path


def said(*arguments) -> str:
    out = io.StringIO()
    call_command("catalogue", *map(str, arguments), stdout=out)
    return out.getvalue()


def row(model, **values) -> ModelPrice:
    given = {"input": Decimal("2.5"), "output": Decimal(10), "valid_from": datetime(2025, 9, 1, tzinfo=UTC)}
    made = ModelPrice(model=model, workspace=model.workspace, **{**given, "source": PriceSource.CATALOGUE, **values})
    made.save()
    return made


def test_the_catalogue_is_shown_with_its_age():
    assert "as of 2025-09-01" in said()
    assert json.loads(said("--json"))["models"]["gpt-4o"]["price"]["input"] == "2.5"


def test_a_refresh_adds_dated_rows_in_every_workspace_and_changes_none(file):
    models = [ModelFactory(identifier=name, slug="m") for name in ("gpt-4o", "gpt-4o-2024-08-06", "another")]
    old = row(models[0])

    told = json.loads(said("--refresh", file, "--json"))

    assert told["counts"] == {"added": 2, "same": 0, "older": 0, "kept": 0}
    new = models[0].prices.get(valid_from=datetime(2026, 6, 1, tzinfo=UTC))
    assert (new.input, new.cached_input, new.output) == (Decimal("1.25"), Decimal("0.1"), 5)
    assert (new.source, new.note) == (PriceSource.CATALOGUE, "Catalogue as of 2026-06-01: A test")
    assert models[0].prices.get(pk=old.pk).input == Decimal("2.5")
    assert not models[2].prices.exists()
    assert json.loads(said("--refresh", file, "--json"))["counts"]["same"] == 2


def test_a_price_that_a_person_entered_is_kept(file):
    model = ModelFactory(identifier="gpt-4o")
    row(model, source=PriceSource.OPERATOR)

    assert "keeps the price that was entered here" in said("--refresh", file)
    assert model.prices.count() == 1


def test_an_older_catalogue_adds_nothing(file):
    model = ModelFactory(identifier="gpt-4o")
    row(model, valid_from=datetime(2026, 7, 1, tzinfo=UTC))

    assert "1 older" in said("--refresh", file)
    assert model.prices.count() == 1


def test_a_model_on_a_machine_of_ones_own_gets_no_vendors_price(file):
    model = ModelFactory(identifier="gpt-4o", provider__type=ProviderType.LOCAL)

    said("--refresh", file)

    assert not model.prices.exists()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(file):
    model = ModelFactory(identifier="gpt-4o")

    assert "would get a new price" in said("--refresh", file, "--dry-run")
    assert not model.prices.exists()


@pytest.mark.parametrize("text", ["as_of = 1", "not toml at all", NEWER.replace("input", "imput")])
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, text):
    ModelFactory(identifier="gpt-4o")
    path = tmp_path / "bad.toml"
    path.write_text(text)

    with pytest.raises(CommandError, match=r"bad\.toml"):
        said("--refresh", path)
    assert not ModelPrice._unscoped.exists()


def test_what_cannot_be_read_and_what_makes_no_sense_is_one_line(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        said("--refresh", tmp_path / "nowhere.toml")
    with pytest.raises(CommandError, match="--refresh"):
        said("--dry-run")
