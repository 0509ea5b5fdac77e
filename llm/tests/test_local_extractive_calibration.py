"""The shipped calibration fits the code, and the command finds it again and judges other sets."""

import json

import pytest
from django.core.management import CommandError, call_command

from llm.providers.local.calibration.cases import Case, Kind, Outcome, cases_of
from llm.providers.local.calibration.fitting import fit
from llm.providers.local.calibration.judging import shares, table
from llm.providers.local.calibration.sets import LabelledQuestion, Passage, QuestionSet, beir, shipped
from llm.providers.local.extractive import answerability
from llm.providers.local.extractive.answerability import MEASURES, AnswerabilityModel, calibrated
from plugins.contracts import Grounding

CORPUS = [
    {"_id": "tide", "title": "Tides", "text": "The tide turns every six hours. High water is announced by a bell."},
    {"_id": "pier", "title": "The pier", "text": "The pier is 140 metres long. It was rebuilt in 1931."},
    {"_id": "ice", "title": "Ice", "text": "Ice covers the basin in January. The icebreaker comes on Mondays."},
]


@pytest.fixture
def folder(tmp_path):
    """A set in BEIR form with one answerable question and one near one."""
    (tmp_path / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in CORPUS))
    queries = [{"_id": "q1", "text": "How long is the pier?"}, {"_id": "q2", "text": "Who owns the pier?"}]
    (tmp_path / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in queries))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tpier\t1\nq2\tpier\t0\n")
    return tmp_path


def test_shipped_model_is_for_the_measures_of_the_code():
    model = calibrated()

    assert tuple(model.weights) == MEASURES
    assert 0 < model.threshold < 1
    assert all(weight > 0 for weight in model.weights.values())


def test_model_for_other_measures_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "model.json"
    other.write_text('{"bias": 0, "weights": {"luck": 1}, "threshold": 0.5}')
    monkeypatch.setattr(answerability, "MODEL", other)
    calibrated.cache_clear()

    with pytest.raises(ValueError, match="calibrate_extractive"):
        calibrated()

    calibrated.cache_clear()


def test_shipped_set_names_only_sources_that_it_has():
    given = shipped()
    sources = {source for passage in given.passages for source in passage.sources}

    assert all(question.gold <= sources for question in given.questions)
    assert sum(not question.gold for question in given.questions) >= 50
    assert {source for passage in shipped(joined=True).passages for source in passage.sources} == sources


def test_beir_set_is_read_with_its_near_questions(folder):
    given = beir(folder)

    assert [passage.full_text for passage in given.passages][
        1
    ] == "The pier\nThe pier is 140 metres long. It was rebuilt in 1931."
    assert given.questions == (
        LabelledQuestion("How long is the pier?", frozenset({"pier"})),
        LabelledQuestion("Who owns the pier?", frozenset()),
    )


def test_long_documents_are_cut_at_sentences(folder):
    sentence = "The bell rings when the tide turns in the old harbour basin."
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "pier", "text": " ".join([sentence] * 60)}))

    passages = beir(folder).passages

    assert len(passages) > 3
    assert all(passage.text.endswith(".") for passage in passages)
    assert " ".join(passage.text for passage in passages) == " ".join([sentence] * 60)


def test_questions_come_in_every_kind_that_their_set_allows():
    passages = tuple(
        Passage(row["_id"], frozenset({f"{row['_id']}/1"}), row["title"], (), row["text"]) for row in CORPUS
    )
    questions = (
        LabelledQuestion("How long is the pier?", frozenset({"pier/1"})),
        LabelledQuestion("Who owns the pier?", frozenset()),
    )

    cases = list(cases_of(QuestionSet(passages, questions), ["What is a webhook?"]))

    assert [case.kind for case in cases] == [Kind.FOUND, Kind.REMOVED, Kind.NEAR, Kind.OFF_TOPIC]
    assert cases[0].grounding.passages[min(cases[0].gold) - 1].title == "The pier"
    assert "The pier" not in {passage.title for passage in cases[1].grounding.passages}


def outcome(kind: Kind, value: float, cited: tuple[int, ...] = ()) -> Outcome:
    case = Case(kind, Grounding("q", ()), frozenset({1} if kind is Kind.FOUND else ()))
    return Outcome(case, dict.fromkeys(MEASURES, value), frozenset(cited))


def test_threshold_leaves_a_tenth_of_the_unanswerable_answered():
    found = [outcome(Kind.FOUND, 0.5 + n / 100) for n in range(50)]
    near = [outcome(Kind.NEAR, 0.2 + n / 100) for n in range(50)]
    removed = [outcome(Kind.REMOVED, 0.2 + n / 100) for n in range(50)]

    model = fit([*found, *near, *removed])

    rows = {row.kind: row for row in shares(model, [*found, *near, *removed])}
    assert rows[Kind.NEAR].answered + rows[Kind.REMOVED].answered <= 10
    assert rows[Kind.FOUND].answered >= 35
    assert model.chance(dict.fromkeys(MEASURES, 0.9)) > 0.9
    assert model.chance(dict.fromkeys(MEASURES, 0.2)) < 0.1


def test_table_counts_answers_and_those_that_cite_the_answer():
    model = AnswerabilityModel(-2.0, dict.fromkeys(MEASURES, 1.0), 0.5)
    found = [outcome(Kind.FOUND, 0.9, (1,)), outcome(Kind.FOUND, 0.9, (2,)), outcome(Kind.FOUND, 0.1, (1,))]

    shown = table(list(shares(model, [*found, outcome(Kind.NEAR, 0.1)])))

    assert shown.splitlines()[2:] == ["| found | 3 | 2 (67%) | 1 (33%) |", "| near | 1 | 0 (0%) |  |"]


def test_command_judges_a_set_and_writes_nothing(folder, capsys):
    before = answerability.MODEL.read_bytes()

    call_command("calibrate_extractive", check=folder)

    said = capsys.readouterr().out
    assert "| found | 1 | 1 (100%) | 1 (100%) |" in said
    assert "| near | 1 |" in said
    assert "| off topic | 100 | 0 (0%) |" in said
    assert "ms (median)" in said
    assert answerability.MODEL.read_bytes() == before


def test_command_names_a_folder_that_is_no_set(tmp_path):
    with pytest.raises(CommandError, match="no set in BEIR form"):
        call_command("calibrate_extractive", check=tmp_path)


@pytest.mark.exhaustive
def test_calibration_finds_the_shipped_model_again(tmp_path, monkeypatch):
    monkeypatch.setattr("llm.management.commands.calibrate_extractive.MODEL", tmp_path / "model.json")

    call_command("calibrate_extractive")

    again = json.loads((tmp_path / "model.json").read_text())
    assert again["threshold"] == pytest.approx(calibrated().threshold, abs=0.05)
    assert again["weights"] == pytest.approx(calibrated().weights, rel=0.15)
