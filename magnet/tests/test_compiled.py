"""SQL that is made once finds and writes what Django's own would."""

import copy
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection, models
from django.db.models.constants import OnConflict

from accounts.models import Membership
from accounts.tests.factories import MembershipFactory
from core.access import Role
from core.compiled import AnyOf, Compiled, execute
from core.compiled_rows import Insert, Update
from core.ids import uuid7
from llm.models import Model
from llm.tests.factories import ModelFactory
from observability.choices import Operation
from observability.models import Run, Trace, UsageRecord
from rag.models import Citation

pytestmark = pytest.mark.django_db
WHEN = datetime(2026, 5, 1, 12, tzinfo=UTC)
ODD = "50 % of 'it' \\ {} %s; ☂"


def called(slug):
    """Models of this slug with their providers."""
    return Model._unscoped.select_related("provider").filter(slug=slug)


def members(pk):
    return Membership.objects.filter(pk=pk)


def columns(row: models.Model) -> dict[str, str]:
    """The values of a row as they are printed: a secret is equal to none, and a choice is its value."""
    return {field.attname: str(getattr(row, field.attname)) for field in row._meta.concrete_fields}


def test_it_finds_what_the_queryset_finds_with_what_comes_along(django_assert_num_queries):
    model, _ = ModelFactory(), ModelFactory()
    named = Compiled(called)

    with django_assert_num_queries(1):
        (found,) = named(slug=model.slug)
        provider = found.provider

    assert columns(found) == columns(called(model.slug).get())
    assert columns(provider) == columns(called(model.slug).get().provider)
    assert named(slug="none") == []
    assert (named.first(slug=model.slug), named.first(slug="none")) == (model, None)


def test_a_queryset_is_built_once_for_each_shape():
    built = []

    @Compiled
    def ordered(first: str, workspace):
        built.append(first)
        return Model._unscoped.filter(workspace=workspace).order_by(first)

    one = ModelFactory(slug="b", name="A")
    two = ModelFactory(slug="a", name="B", provider=one.provider)

    for _ in range(3):
        assert ordered("slug", workspace=one.workspace_id) == [two, one]
        assert ordered("name", workspace=one.workspace_id) == [one, two]
    assert built == ["slug", "name"]


def test_values_annotations_and_none_are_the_querysets_own():
    member = MembershipFactory(role=Role.OPERATOR)
    flat = Compiled(lambda pk: members(pk).values_list("role", flat=True))
    pairs = Compiled(lambda pk: members(pk).values_list("role", "user__email"))
    text = models.TextField()
    noted = Compiled(lambda pk, note: members(pk).annotate(note=models.Func(note, function="UPPER", output_field=text)))

    assert flat(pk=member.pk) == [Role.OPERATOR]
    assert pairs(pk=member.pk) == [(Role.OPERATOR, member.user.email)]
    assert noted.first(pk=member.pk, note=ODD).note == ODD.upper()
    assert flat(pk=None) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_one_of_several_values_has_the_same_sql_for_any_number(count):
    rows = [ModelFactory() for _ in range(4)][:count]
    these = Compiled(lambda ids: Model._unscoped.filter(AnyOf("pk", ids)).order_by("pk"))

    statement = these.filled(ids=[row.pk for row in rows])

    assert statement.sql == these.filled(ids=[]).sql
    assert execute(statement) == (sorted(rows, key=lambda row: row.pk),)


def test_several_statements_are_one_round_trip_and_answer_in_their_order(django_assert_num_queries):
    model, trace = ModelFactory(), Trace(name=ODD, kind="test", started_at=WHEN)
    trace.workspace_id = model.workspace_id
    named = Compiled(called)

    with django_assert_num_queries(1):
        found, stored, none = execute(
            named.filled(slug=model.slug), Insert(Trace).filled([trace]), named.filled(slug="x")
        )

    assert (found, stored, none) == ([model], None, [])
    assert Trace._unscoped.get(pk=trace.pk).name == ODD


@pytest.mark.django_db(transaction=True)
def test_every_thread_asks_over_its_own_connection():
    model, named, found = ModelFactory(), Compiled(called), []

    def ask() -> None:
        found.extend(named(slug=model.slug))
        connection.close()

    named(slug=model.slug)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert found == [model]


@pytest.fixture
def run() -> Run:
    member = MembershipFactory()
    return Run(
        workspace_id=member.workspace_id, kind="rag_tool", target_id=member.pk, target_slug="qa", variant=1,
        variant_id=member.pk, input={"question": ODD}, user_id=member.user_id,
    )  # fmt: skip


def test_inserted_rows_are_those_that_django_would_have_saved(run):
    Insert(Run)(run)
    citation = Citation(
        workspace_id=run.workspace_id, run=run, marker=1, document_ref=run.pk, chunk_ref=run.pk, title=ODD, quote=ODD,
        heading_path=["a", ODD], char_start=0, char_end=9, support=0.5, verified=True,
    )  # fmt: skip
    Insert(Citation)(citation)

    stored = Run._unscoped.get(pk=run.pk)
    assert columns(stored) == columns(run)
    assert stored.input == {"question": ODD}
    assert stored.created_at is not None
    assert columns(Citation._unscoped.get(run=run)) == columns(citation)


def test_an_inserted_row_that_is_saved_again_is_changed_and_not_doubled(run):
    Insert(Run)(run)
    run.content = ODD
    run.save()

    assert Run._unscoped.get().content == ODD


def test_what_is_empty_is_null_and_not_the_json_of_it(run):
    Insert(Run)(run)
    run.content = ODD
    execute(Update(Run).filled(run))

    assert Run._unscoped.filter(answer__isnull=True, problem__isnull=True, content=ODD).exists()


def test_values_are_those_that_the_columns_take(run):
    run.last_seq, run.target_id = 12.0, str(run.target_id)  # as a vendor's counts and a caller's ids come
    Insert(Run)(run)
    assert Run._unscoped.get().last_seq == 12

    run.input = {"odd": {1, 2}}
    with pytest.raises(TypeError, match="A set cannot be stored"):
        Update(Run).filled(run)


def test_what_takes_queries_of_its_own_is_refused():
    several = Compiled(lambda pk: Model._unscoped.filter(pk=pk).prefetch_related("prices"))

    with pytest.raises(AssertionError, match="prefetched"):
        several.filled(pk=None)


def test_nothing_is_asked_of_the_database_for_no_rows(django_assert_num_queries):
    with django_assert_num_queries(0):
        Insert(Run)()


def test_an_update_writes_all_columns_and_no_other_row(run):
    other = copy.copy(run)
    other.pk = uuid7()
    Insert(Run)(run, other)
    run.content, run.answer, run.finished_at, run.last_seq = ODD, {"content": ODD}, WHEN, 7

    execute(Update(Run).filled(run))

    assert columns(Run._unscoped.get(pk=run.pk)) == columns(run)
    assert columns(Run._unscoped.get(pk=other.pk)) == columns(other)


def test_rows_that_stand_there_are_kept_or_changed_as_it_is_said(run):
    usage = UsageRecord(
        workspace_id=run.workspace_id, operation=Operation.CHAT, provider_type="openai", provider_slug="p",
        model_slug="m", model_identifier="m", input_tokens=5, cost=Decimal("0.00000005"), created_at=WHEN,
    )  # fmt: skip
    once = Insert(UsageRecord, OnConflict.IGNORE)
    once(usage)
    usage.input_tokens = 9
    once(usage)
    assert UsageRecord._unscoped.get().input_tokens == 5
    assert UsageRecord._unscoped.get().cost == Decimal("0.00000005")

    trace = Trace(workspace_id=run.workspace_id, name="first", kind="test", started_at=WHEN, duration_ms=1)
    last = Insert(Trace, OnConflict.UPDATE, same=["id"], changed=["duration_ms"])
    last(trace)
    trace.name, trace.duration_ms = "second", 2
    last(trace)
    stored = Trace._unscoped.get()
    assert (stored.name, stored.duration_ms) == ("first", 2)
