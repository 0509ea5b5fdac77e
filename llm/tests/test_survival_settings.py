"""Limits, fallbacks, breakers and refused keys as people configure and see them."""

import pytest
from asgiref.sync import async_to_sync

from accounts.models import AuditEvent
from core.access import Role
from llm import breaker
from llm.doctor import model_findings
from llm.models import LONGEST_CHAIN, Model
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_api import MODELS, PROVIDERS, change, client_as
from plugins.contracts import ProviderFailure

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return client_as(Role.ADMIN)


@pytest.fixture
def provider(admin, scripted_provider_row):
    return scripted_provider_row(admin.workspace, slug="scripted")


def opened(model: Model) -> Model:
    async def fail() -> None:
        for _ in range(breaker.FAILURES):
            await breaker.failed(model, ProviderFailure("overloaded", "busy"))

    async_to_sync(fail)()
    return model


def refusal(answer) -> tuple[str, str]:
    error = answer.json()["errors"][0]
    return error["pointer"], error["code"]


def test_limits_fallback_and_cache_are_set_and_shown(admin, provider):
    ModelFactory(provider=provider, slug="second")
    first = ModelFactory(provider=provider, slug="first")
    given = {"requests_per_minute": 60, "tokens_per_minute": 9000, "fallback": "second", "cache_seconds": 300}

    answer = change(admin, f"{MODELS}first/", given)

    first.refresh_from_db()
    assert answer.status_code == 200
    assert answer.json()["requests_per_minute"] == 60
    assert answer.json()["fallback"] == str(first.fallback_id)
    assert answer.json()["breaker"] == {"state": "closed", "failures": 0, "kind": "", "seconds": 0.0}
    event = AuditEvent.objects.filter(object_id=first.pk, action="update").get()
    assert set(given) <= set(event.changes)
    assert admin.delete(f"{MODELS}second/", headers={"If-Match": "*"}).status_code == 409
    assert [one["slug"] for one in admin.get(f"{MODELS}?fallback={first.fallback_id}").json()["results"]] == ["first"]


@pytest.mark.parametrize("field", ["requests_per_minute", "tokens_per_minute", "cache_seconds"])
def test_a_limit_of_nothing_is_refused(admin, provider, field):
    ModelFactory(provider=provider, slug="first")

    assert change(admin, f"{MODELS}first/", {field: 0}).status_code == 400


def test_a_chain_may_not_bite_its_tail_or_grow_too_long(admin, provider):
    last = None
    for n in range(LONGEST_CHAIN):
        last = ModelFactory(provider=provider, slug=f"m{n}", fallback=last)
    ModelFactory(provider=provider, slug="one-more")

    assert refusal(change(admin, f"{MODELS}m0/", {"fallback": "m4"})) == ("/fallback", "cycle")
    assert refusal(change(admin, f"{MODELS}m0/", {"fallback": "m0"})) == ("/fallback", "cycle")
    assert refusal(change(admin, f"{MODELS}one-more/", {"fallback": "m4"})) == ("/fallback", "too_long")


def test_a_fallback_answers_the_same_kind_in_the_same_space(admin, provider):
    space = {"provider": provider, "kind": "embedding", "identifier": "embed", "dimensions": 32}
    ModelFactory(slug="first", **space)
    ModelFactory(slug="same", **space)
    ModelFactory(slug="other", **{**space, "identifier": "embed-floats"})
    ModelFactory(slug="chat", provider=provider)

    assert change(admin, f"{MODELS}first/", {"fallback": "same"}).status_code == 200
    assert refusal(change(admin, f"{MODELS}first/", {"fallback": "other"})) == ("/fallback", "space")
    assert refusal(change(admin, f"{MODELS}first/", {"fallback": "chat"})) == ("/fallback", "kind")
    assert refusal(change(admin, f"{MODELS}first/", {"cache_seconds": 9})) == ("/cache_seconds", "kind")


def test_a_model_of_another_workspace_is_no_fallback(admin, provider):
    ModelFactory(provider=provider, slug="first")
    stranger = ModelFactory()

    assert refusal(change(admin, f"{MODELS}first/", {"fallback": str(stranger.pk)}))[0] == "/fallback"


def test_an_open_breaker_is_shown_and_closed_by_hand(admin, provider):
    model = opened(ModelFactory(provider=provider, slug="first"))
    shown = admin.get(f"{MODELS}?slug=first").json()["results"][0]["breaker"]
    assert (shown["state"], shown["failures"], shown["kind"]) == ("open", breaker.FAILURES, "overloaded")
    assert any("breaker is open after 5 failures" in one.detail for one in model_findings())

    answer = admin.post(f"{MODELS}first/reset-breaker")

    assert answer.json()["breaker"]["state"] == "closed"
    assert AuditEvent.objects.filter(object_id=model.pk, action="reset_breaker").exists()


def test_a_viewer_resets_no_breaker(admin, provider):
    model = opened(ModelFactory(provider=provider, slug="first"))

    assert client_as(Role.VIEWER, admin.workspace).post(f"{MODELS}first/reset-breaker").status_code == 403
    assert breaker.standings([model])[model.pk].failures == breaker.FAILURES


@pytest.mark.django_db(transaction=True)
def test_a_refused_key_alerts_once_until_there_is_a_new_one(admin, provider, scripted):
    ModelFactory(provider=provider, slug="first", identifier="unauthorized")
    for _ in range(2):
        assert admin.post(f"{MODELS}first/test").status_code == 502

    assert len(scripted.calls) == 2  # one for each trial: nothing was repeated
    assert admin.get(f"{PROVIDERS}scripted/").json()["key_refused_at"]
    assert len(admin.get(f"{PROVIDERS}?key_refused_at__isnull=false").json()["results"]) == 1
    assert AuditEvent.objects.filter(object_id=provider.pk, action="key_refused").count() == 1
    assert [one.detail for one in model_findings()] == ["the vendor refuses the key"]

    change(admin, f"{PROVIDERS}scripted/", {"api_key": "sk-another-key-0123456789"})
    assert admin.get(f"{PROVIDERS}scripted/").json()["key_refused_at"] is None


@pytest.mark.django_db(transaction=True)
def test_a_call_that_works_takes_the_alert_back(admin, provider, scripted):
    ModelFactory(provider=provider, slug="first", identifier="unauthorized")
    ModelFactory(provider=provider, slug="second", identifier="ok")
    admin.post(f"{MODELS}first/test")

    assert admin.post(f"{MODELS}second/test").status_code == 200

    provider.refresh_from_db()
    assert provider.key_refused_at is None


def test_other_providers_are_no_concern_of_the_doctor():
    ModelFactory(provider=ProviderFactory())

    assert [one.level.value for one in model_findings()] == ["ok"]
