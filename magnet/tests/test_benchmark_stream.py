import json

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Workspace
from accounts.tests.factories import UserFactory
from llm.models import Model
from magnet.benchmarks.stream import percentile_99
from observability.models import Run

SMALL = ["--requests", "4", "--concurrency", "1", "2", "--streams", "2"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.exhaustive
def test_streams_are_measured_beside_the_same_vendor_and_nothing_is_left(capsys):
    UserFactory(is_superuser=True)

    call_command("benchmark", "stream", "--json", *SMALL)

    told = json.loads(capsys.readouterr().out)
    assert list(told["concurrency"]) == ["1", "2"]
    for found in told["concurrency"].values():
        assert set(found) == {"direct", "v1_model", "v1_prompt", "rest_rag"}
        direct = found.pop("direct")
        for ours in found.values():
            assert ours["first_ms_p50"] > direct["first_ms_p50"] > 3
            assert ours["added_first_ms_p50"] == pytest.approx(ours["first_ms_p50"] - direct["first_ms_p50"], abs=0.11)
            assert ours["web_cpu_ms_per_request"] > 0
    held = told["open_streams"]
    assert held["direct"]["events_per_second"] == pytest.approx(100, abs=15)
    assert held["v1_model"]["events_per_second"] == pytest.approx(100, abs=15)
    assert held["v1_model"]["web_cpu_us_per_word"] > 0
    assert not any(kind.objects.exists() for kind in (Workspace,))
    assert not any(kind._unscoped.exists() for kind in (Model, Run))


@pytest.mark.django_db
def test_without_a_superuser_nothing_is_measured_or_left():
    with pytest.raises(CommandError, match="no superuser yet"):
        call_command("benchmark", "stream", "--json", *SMALL)

    assert not Workspace.objects.exists()


def test_a_collection_is_asked_for():
    with pytest.raises(CommandError, match="--beir"):
        call_command("benchmark", "retrieval")


def test_the_99th_percentile_leaves_out_one_of_a_hundred():
    assert percentile_99([float(n) for n in range(1, 102)]) == 100.0
    assert percentile_99([7.0]) == 7.0
