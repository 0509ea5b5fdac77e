import json

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Workspace
from knowledge.benchmarking import ndcg, recall
from knowledge.models import Chunk

CORPUS = {
    "sun": "The sun is a star. It gives light to the planets.",
    "bread": "Bread is baked from flour, water, salt and yeast.",
    "ship": "The ferry leaves the harbour at seven every morning.",
}
QUERIES = {"q1": "What is bread baked from?", "q2": "When does the ferry leave?"}


@pytest.fixture
def collection(tmp_path):
    (tmp_path / "qrels").mkdir()
    rows = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in CORPUS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows))
    (tmp_path / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": key, "text": text}) for key, text in QUERIES.items())
    )
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tbread\t1\nq2\tship\t1\n")
    return tmp_path


@pytest.mark.django_db(transaction=True)
def test_retrieval_is_measured_and_leaves_nothing(collection, capsys):
    call_command("benchmark", "retrieval", "--beir", str(collection), "--json")

    told = json.loads(capsys.readouterr().out)
    assert (told["documents"], told["passages"], told["queries"]) == (3, 3, 2)
    assert (told["ndcg@10"], told["recall@100"]) == (1.0, 1.0)
    assert sorted(told["modes"]) == ["dense", "hybrid", "lexical"]
    assert not Workspace.objects.filter(slug__startswith="benchmark-").exists()
    assert not Chunk._unscoped.exists()


@pytest.mark.django_db
def test_a_folder_in_another_form_is_refused(tmp_path):
    with pytest.raises(CommandError, match="is not in BEIR's form"):
        call_command("benchmark", "retrieval", "--beir", str(tmp_path))


def test_gain_is_discounted_by_the_logarithm_of_the_rank():
    relevant = {"a": 2, "b": 1}

    assert ndcg(["a", "b"], relevant, 10) == 1.0
    assert ndcg(["x", "a", "b"], relevant, 10) == pytest.approx((2 / 1.58496 + 1 / 2) / (2 + 1 / 1.58496), rel=1e-4)
    assert ndcg(["x"], relevant, 10) == 0.0


def test_recall_is_the_share_of_the_relevant_ones():
    assert recall(["a", "x"], {"a": 1, "b": 1, "c": 0}, 2) == 0.5
