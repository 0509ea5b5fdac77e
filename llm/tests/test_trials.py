"""Test connection, in the admin and the API: the vendor's own words, and never a key, wherever one may look."""

import json
import logging

import pytest
from django.core import serializers
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from llm.models import Model, Provider
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_api import client_as
from magnet.tests.admin_world import signed_in
from observability.models import Span, Trace, UsageRecord

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "unauthorized/my own+secret-0123456789"


@pytest.fixture
def provider(scripted_provider_row) -> Provider:
    workspace = MembershipFactory(role=Role.ADMIN).workspace
    return scripted_provider_row(workspace, slug="scripted", api_key=KEY)


def admin_of(provider: Provider, role: Role = Role.OPERATOR):
    return signed_in(MembershipFactory(workspace=provider.workspace, role=role).user)


def test_url(row: Provider | Model) -> str:
    return reverse(f"admin:llm_{row._meta.model_name}_test", args=[row.pk])


test_url.__test__ = False  # type: ignore[attr-defined]


def page_after(client, row) -> str:
    answer = client.post(test_url(row), follow=True)
    assert answer.redirect_chain == [(reverse(f"admin:llm_{row._meta.model_name}_change", args=[row.pk]), 302)]
    return answer.content.decode()


def kept() -> str:
    rows = [row for one in (Trace, Span, UsageRecord, AuditEvent) for row in one._base_manager.all()]
    assert any(isinstance(row, Trace) for row in rows)
    return serializers.serialize("json", rows)


def test_a_key_that_a_vendor_echoes_is_in_no_answer_log_trace_or_audit(provider, caplog):
    caplog.set_level(logging.DEBUG)
    model = ModelFactory(provider=provider, slug="chat", identifier="unauthorized")
    api = client_as(Role.OPERATOR, provider.workspace)

    answers = [api.post("/api/v1/models/chat/test"), api.post("/api/v1/providers/scripted/available-models")]
    pages = [page_after(admin_of(provider), row) for row in (model, provider)]

    assert [one.status_code for one in answers] == [502, 502]
    shown = [one.json()["detail"] for one in answers] + pages
    assert all("HTTP 401" in text and "Incorrect API key provided" in text and "[removed]" in text for text in shown)
    logs = json.dumps([{**vars(one), "args": None, "exc_info": None} for one in caplog.records], default=str)
    for place in [*shown, kept(), logs, caplog.text]:
        assert not any(part in place for part in (KEY, KEY[:18], KEY[18:], "0123456789", "my%20own"))


def test_other_callers_do_not_read_what_a_vendor_says(provider):
    ModelFactory(provider=provider, slug="chat", identifier="unauthorized")
    api = client_as(Role.ADMIN, provider.workspace, scopes=[Scope.RUN, Scope.MODELS])
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}

    answer = api.post("/v1/chat/completions", body)

    assert answer.status_code == 502
    assert "refuses the API key" in answer.content.decode()
    assert "Incorrect API key provided" not in answer.content.decode()


def test_the_admin_shows_what_a_model_answers(provider):
    provider.api_key = "sk-a-key-that-is-good"
    provider.save()
    chat = ModelFactory(provider=provider, slug="chat", identifier="ok")
    embedding = ModelFactory(provider=provider, slug="embed", identifier="embed", kind="embedding")
    rerank = ModelFactory(provider=provider, slug="rerank", identifier="rerank", kind="rerank")
    client = admin_of(provider)

    assert "Test connection" in client.get(reverse("admin:llm_model_change", args=[chat.pk])).content.decode()
    assert "The scripted answer" in page_after(client, chat)
    assert "with 32 dimensions" in page_after(client, embedding)
    assert "rerank answered in" in page_after(client, rerank)
    assert "models: " in page_after(client, provider)
    assert Trace.objects.for_workspace(provider.workspace_id).filter(kind="model_test").count() == 3


def test_a_vendor_that_is_away_is_told_too(provider, scripted):
    with scripted.down():
        assert "cannot be reached" in page_after(admin_of(provider), provider)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER])
def test_who_may_not_configure_tests_nothing(provider, scripted, role):
    model = ModelFactory(provider=provider, slug="chat", identifier="ok")
    client = admin_of(provider, role)

    for row in (provider, model):
        form = reverse(f"admin:llm_{row._meta.model_name}_change", args=[row.pk])
        assert client.post(test_url(row)).status_code in {302, 403}
        assert "Test connection" not in client.get(form, follow=True).content.decode()
    assert scripted.calls == []


def test_a_link_tests_nothing_and_another_workspaces_row_does_not_exist(provider, scripted):
    elsewhere = ProviderFactory()

    assert admin_of(provider).get(test_url(provider)).status_code == 403
    assert admin_of(provider).post(test_url(elsewhere)).status_code == 404
    assert scripted.calls == []
