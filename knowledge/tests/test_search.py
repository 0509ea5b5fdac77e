"""Search against a real index: who is found, in which order, with which scores."""

import asyncio
import math

import pytest

from accounts.tests.factories import WorkspaceFactory
from core.exceptions import InvalidInput
from knowledge.choices import FieldType
from knowledge.indexing import reweigh
from knowledge.models import DocumentText, EmbeddingIndex, TermStatistic
from knowledge.retrieval import bm25
from knowledge.retrieval.filters import compile_filter
from knowledge.retrieval.search import search, search_sync, surroundings
from knowledge.retrieval.terms import terms_of
from knowledge.selectors import search_indexes
from knowledge.services import index_point
from knowledge.tests.factories import DocumentFactory, SourceFactory, axis, fill, index_of, query
from llm.tests.factories import LocalModelFactory

pytestmark = pytest.mark.django_db

LEAVE = "Employees take thirty days of annual leave."
TRAVEL = "Expenses of a journey are refunded within two weeks."
ROOMS = "The rooms of the office are booked by e-mail."


@pytest.fixture
def source():
    return SourceFactory()


@pytest.fixture
def filled(source):
    """Three passages: leave on axis 0, travel on axis 1, rooms on axis 2."""
    document = DocumentFactory(source=source, title="Handbook")
    return fill(document, [LEAVE, TRAVEL, ROOMS], [axis(0), axis(1), axis(2)])


def texts(found):
    return [one.text for one in found]


def test_words_find_their_passage(source, filled):
    found = search_sync(query([source], "annual leave", mode="lexical"))

    assert texts(found) == [LEAVE]
    assert found[0].lexical_rank == 1
    assert found[0].dense_rank is None
    assert found[0].dense_score is None
    assert found[0].score == 1


def test_words_are_compared_by_their_stems(source, filled):
    found = search_sync(query([source], "Which journeys are being refunded?", mode="lexical"))

    assert texts(found) == [TRAVEL]


def test_a_vector_finds_its_neighbours_in_order(source, filled):
    near = [0.1, 0.9, 0.4, 0, 0, 0, 0, 0]

    found = search_sync(query([source], "nothing in common", near, mode="dense"))

    assert texts(found) == [TRAVEL, ROOMS, LEAVE]
    assert [one.dense_rank for one in found] == [1, 2, 3]
    assert found[0].dense_score == pytest.approx(0.9 / math.hypot(*near), abs=1e-3)
    assert found[0].lexical_score is None


def test_a_hybrid_search_adds_both_scaled_scores(source, filled):
    near_rooms = [0.5, 0, 1, 0, 0, 0, 0, 0]

    found = search_sync(query([source], "annual leave", near_rooms, dense_weight=0.5))

    by_text = {one.text: one for one in found}
    assert by_text[ROOMS].score == pytest.approx(0.5)
    assert by_text[LEAVE].score == pytest.approx(0.5 * 0.5 + 0.5, abs=1e-3)
    assert by_text[TRAVEL].score == 0
    assert texts(found)[0] == LEAVE


def test_the_weight_decides_between_the_two(source, filled):
    only_words = search_sync(query([source], "annual leave", axis(2), dense_weight=0.0))
    only_meaning = search_sync(query([source], "annual leave", axis(2), dense_weight=1.0))

    assert only_words[0].text == LEAVE
    assert only_meaning[0].text == ROOMS


def test_without_vectors_a_hybrid_search_is_lexical(source, filled):
    found = search_sync(query([source], "annual leave"))

    assert texts(found) == [LEAVE]
    assert found[0].score == 1


def test_the_limit_is_kept(source, filled):
    assert len(search_sync(query([source], "", axis(0), limit=2, mode="dense"))) == 2


def test_a_question_of_unknown_words_finds_nothing(source, filled):
    assert search_sync(query([source], "xylophone quartet", mode="lexical")) == []


def test_bm25_is_the_formula(source, filled):
    found = search_sync(query([source], "annual", mode="lexical"))

    counts = [sum(terms_of(f"Handbook\n{text}").values()) for text in (LEAVE, TRAVEL, ROOMS)]
    average = sum(counts) / 3
    idf = math.log(1 + (3 - 1 + 0.5) / 1.5)
    norm = bm25.K1 * (1 - bm25.B + bm25.B * counts[0] / average)
    assert found[0].lexical_score == pytest.approx(idf * (bm25.K1 + 1) / (1 + norm), rel=1e-4)


def test_the_words_of_the_title_count(source, filled):
    assert len(search_sync(query([source], "handbook", mode="lexical"))) == 3


def test_statistics_follow_the_documents(source, filled):
    leave = next(iter(terms_of("leave")))
    index = index_of(source)
    assert TermStatistic.objects.get(index=index, term=leave).document_frequency == 1
    assert index.chunk_count == 3

    fill(filled[0].document, ["Only one leave remains."], [axis(3)])

    index.refresh_from_db()
    assert index.chunk_count == 1
    assert index.term_count == sum(terms_of("Handbook Only one leave remains.").values())
    assert TermStatistic.objects.get(index=index, term=next(iter(terms_of("annual")))).document_frequency == 0
    assert TermStatistic.objects.get(index=index, term=leave).document_frequency == 1


def test_a_new_epoch_weighs_with_the_present_mean_length(source, filled):
    fill(DocumentFactory(source=source, title="Long"), ["leave " + "word " * 300], [axis(4)])
    before = {one.text: one.lexical_score for one in search_sync(query([source], "leave", mode="lexical"))}

    reweigh(index_of(source))

    index = index_of(source)
    assert index.average_terms == pytest.approx(index.term_count / index.chunk_count)
    after = {one.text: one.lexical_score for one in search_sync(query([source], "leave", mode="lexical"))}
    assert after[LEAVE] > before[LEAVE]


def test_another_workspace_is_never_searched(source, filled):
    other = SourceFactory(workspace=WorkspaceFactory())
    fill(DocumentFactory(source=other), [LEAVE], [axis(0)])

    found = search_sync(query([other], "annual leave", axis(0)))

    assert [one.source_id for one in found] == [other.pk]
    assert search_indexes(other.workspace_id, [source.pk]) == []


def test_several_sources_are_pooled(source, filled):
    second = SourceFactory(workspace=source.workspace, embedding_model=source.embedding_model)
    fill(DocumentFactory(source=second, title="Other"), ["Annual leave of apprentices."], [axis(0)])

    found = search_sync(query([source, second], "annual leave", axis(0)))

    assert {one.source_id for one in found[:2]} == {source.pk, second.pk}
    assert [one.dense_rank for one in found[:2]] == [1, 1]


def test_vectors_of_two_models_are_scaled_apart(source, filled):
    """A model whose similarities are all lower still gets its best passage to the top."""
    wide = LocalModelFactory(provider=source.embedding_model.provider, dimensions=4, slug="wide")
    second = SourceFactory(workspace=source.workspace, embedding_model=wide)
    fill(DocumentFactory(source=second), ["first", "second"], [axis(0, 4), axis(1, 4)])
    asked = query([source, second], "", mode="dense", limit=10)
    vectors = {source.embedding_model_id: axis(1), wide.pk: [0.3, 0.0, 0.9, 0.3]}

    found = search_sync(type(asked)(**{**vars(asked), "vectors": vectors}))

    best = {one.source_id: one for one in found if one.score == 1}
    assert best[source.pk].text == TRAVEL
    assert best[second.pk].text == "first"
    assert best[second.pk].dense_score < 0.5


def test_a_source_without_passages_is_left_out(source):
    assert search_indexes(source.workspace_id, [source.pk]) == []
    assert search_sync(query([source], "anything", axis(0))) == []


def test_another_chunking_answers_when_it_is_switched_to(source, filled):
    old = index_of(source)
    source.chunking = {**source.chunking, "max_tokens": 100}

    index_point(source)

    assert source.active_index_id != old.pk
    assert search_indexes(source.workspace_id, [source.pk]) == []
    assert EmbeddingIndex._unscoped.filter(source=source).count() == 2


@pytest.fixture
def departments(source):
    source.filter_fields = [
        {"name": "department", "type": "text"},
        {"name": "year", "type": "number"},
        {"name": "open", "type": "boolean"},
        {"name": "valid_from", "type": "date"},
    ]
    source.save()
    for name, metadata in {
        "hr": {"department": "HR", "year": 2024, "open": True, "valid_from": "2024-05-01"},
        "it": {"department": "IT", "year": 2023.5, "open": False, "valid_from": "2023-01-31T10:00:00Z"},
        "none": {"department": None, "year": "no number", "valid_from": "some day"},
    }.items():
        document = DocumentFactory(source=source, title=name, metadata=metadata)
        fill(document, [f"The rules of {name}."], [axis(0)])
    return source


@pytest.mark.parametrize(
    "given,expected",
    [
        ({"field": "department", "op": "eq", "value": "HR"}, {"hr"}),
        ({"field": "department", "op": "ne", "value": "HR"}, {"it"}),
        ({"field": "department", "op": "in", "value": ["HR", "IT"]}, {"hr", "it"}),
        ({"field": "department", "op": "contains", "value": "h"}, {"hr"}),
        ({"field": "department", "op": "exists"}, {"hr", "it"}),
        ({"field": "department", "op": "exists", "value": False}, {"none"}),
        ({"field": "year", "op": "gte", "value": 2023.5}, {"hr", "it"}),
        ({"field": "year", "op": "lt", "value": 2024}, {"it"}),
        ({"field": "year", "op": "in", "value": [2024]}, {"hr"}),
        ({"field": "open", "op": "eq", "value": True}, {"hr"}),
        ({"field": "valid_from", "op": "gt", "value": "2023-12-31"}, {"hr"}),
        ({"field": "valid_from", "op": "lte", "value": "2023-01-31T10:00:00+00:00"}, {"it"}),
        ({"field": "title", "op": "eq", "value": "it"}, {"it"}),
        ({"field": "media_type", "op": "eq", "value": "text/plain"}, {"hr", "it", "none"}),
        ({"field": "created_at", "op": "lt", "value": "2001-01-01"}, set()),
        ({"not": {"field": "department", "op": "eq", "value": "HR"}}, {"it", "none"}),
        ({"and": [{"field": "open", "op": "eq", "value": True}, {"field": "year", "op": "gt", "value": 2000}]}, {"hr"}),
        ({"or": [{"field": "title", "op": "eq", "value": "hr"}, {"field": "title", "op": "eq", "value": "it"}]},
         {"hr", "it"}),
        ({"field": "department", "op": "eq", "value": "'; DROP TABLE knowledge_chunk; --"}, set()),
        ({"field": "department", "op": "eq", "value": "{} %s %% {0}"}, set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_filters_keep_what_they_say(departments, given, expected, mode):
    found = search_sync(query([departments], "rules", axis(0), filters=given, mode=mode))

    assert {one.title for one in found} == expected


@pytest.mark.parametrize(
    "given",
    [
        {"field": "salary", "op": "eq", "value": 1},
        {"field": "workspace_id", "op": "eq", "value": "x"},
        {"field": "department", "op": "like", "value": "H%"},
        {"field": "department", "op": "eq", "value": 7},
        {"field": "department", "op": "eq", "value": "\x00"},
        {"field": "department", "op": "eq", "value": "\ud800"},
        {"field": "year", "op": "eq", "value": "2024"},
        {"field": "year", "op": "eq", "value": True},
        {"field": "year", "op": "contains", "value": 2},
        {"field": "valid_from", "op": "gt", "value": "soon"},
        {"field": "valid_from", "op": "gt", "value": "2024-13-45"},
        {"field": "department", "op": "in", "value": []},
        {"field": "department", "op": "in", "value": ["x"] * 201},
        {"field": "department", "op": "eq", "value": "HR", "sql": "1=1"},
        {"field": ["department"], "op": "eq", "value": "HR"},
        {"and": []},
        {"and": {"field": "year", "op": "eq", "value": 1}},
        {"not": [{"field": "year", "op": "eq", "value": 1}]},
        {"xor": []},
        ["department"],
        {"or": [{"field": "year", "op": "eq", "value": 1}] * 51},
    ],
)
def test_what_is_not_declared_is_refused(departments, given):
    with pytest.raises(InvalidInput):
        search_sync(query([departments], "rules", filters=given))


def test_a_filter_nested_too_deep_is_refused():
    given = {"field": "title", "op": "exists"}
    for _ in range(7):
        given = {"not": given}

    with pytest.raises(InvalidInput, match="nested at most 5"):
        compile_filter(given, {"title": FieldType.TEXT})


@pytest.mark.django_db(transaction=True)
def test_a_coroutine_searches_and_widens_what_it_found():
    source = SourceFactory()
    document = DocumentFactory(source=source)
    text = f"{LEAVE}\n\n{TRAVEL}\n\n{ROOMS}"
    for chunk in fill(document, [LEAVE, TRAVEL, ROOMS], [axis(0), axis(1), axis(2)]):
        chunk.char_start = text.index(chunk.text)
        chunk.char_end = chunk.char_start + len(chunk.text)
        chunk.save()
    DocumentText.objects.create(document=document, text=text)
    asked = query([source], "journey", axis(1), limit=1)

    async def both():
        found = await search(asked)
        return found, await surroundings([found[0].chunk_id], 1)

    found, wider = asyncio.run(both())

    assert texts(found) == [TRAVEL]
    assert wider[found[0].chunk_id] == (text, 0)
