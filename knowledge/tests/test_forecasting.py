"""Forecasts, and what budgets do to ingestion and search, with a scripted vendor over HTTP."""

import io
from datetime import timedelta
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Workspace
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, UserFactory, principal_of
from core.access import Role
from knowledge.forecasting import files_forecast, over_budget, reindex_forecast
from knowledge.ingesting import document_ingest
from knowledge.models import Document
from knowledge.services import Upload, document_upload, source_create
from llm.choices import ModelKind
from llm.models import ModelPrice
from llm.providers.connections import close_connections
from llm.tests.factories import ModelFactory, ProviderFactory
from observability.budget_services import budget_create
from observability.budgets.standing import standings
from observability.models import Job, UsageRecord

TEXT = "Annual leave\n\n" + "Everybody has 28 days of leave in each year of work. " * 30


@pytest.fixture
def site(transactional_db, scripted, settings, tmp_path):
    settings.STORAGE_DIR = tmp_path
    membership = MembershipFactory(role=Role.ADMIN, user=UserFactory(is_superuser=True))
    provider = ProviderFactory(workspace=membership.workspace, base_url=scripted.url, api_key="sk-x" * 9)
    model = ModelFactory(provider=provider, kind=ModelKind.EMBEDDING, identifier="embed", slug="embed", dimensions=32)
    ModelPrice(
        workspace=model.workspace, model=model, input=Decimal("0.13"), valid_from=timezone.now() - timedelta(days=1)
    ).save()
    principal = principal_of(membership)
    source = source_create(principal=principal, values={"name": "S", "slug": "s", "embedding_model": model})
    yield principal, source
    async_to_sync(close_connections)()


def budget(principal, **values):
    given = {"name": "Trial", "slug": "trial", "unit": "money", "limit": "1", "period": "month", **values}
    return budget_create(principal=principal, values=given)


def ingest(principal, source, text=TEXT):
    document, job = document_upload(principal=principal, source=source, upload=Upload(text, title="Leave"))
    document_ingest(job.pk)
    document.refresh_from_db()
    return document, Job._unscoped.get(pk=job.pk)


def test_the_bill_of_an_ingestion_is_what_the_vendor_counted(site):
    principal, source = site
    held = budget(principal)

    document, _ = ingest(principal, source)

    record = UsageRecord._unscoped.get()
    assert document.status == "ready"
    assert record.cost == (record.input_tokens * Decimal("0.13") / 10**6).quantize(Decimal("1e-8"))
    assert standings([held])[held.pk].used == record.cost > 0


def test_an_ingestion_over_budget_fails_with_its_reason_and_can_be_retried(site):
    principal, source = site
    held = budget(principal, unit="tokens", limit=5)

    document, job = ingest(principal, source)

    assert (document.status, job.status, job.reason_code) == ("failed", "failed", "budget_exceeded")
    assert "'Trial' of 5 tokens a month" in document.reason
    assert not UsageRecord._unscoped.exists()
    held.limit = 100_000
    held.save()
    client = api(principal)
    assert client.post(f"/api/v1/documents/{document.pk}/retry").status_code == 202
    document_ingest(job.pk)
    assert Document._unscoped.get(pk=document.pk).status == "ready"


def test_a_key_answers_for_what_it_uploads(site):
    principal, _source = site
    issued = api_key_issue(user=principal.user, workspace=Workspace.objects.get(pk=principal.workspace_id), name="k")
    held = budget(principal, scope="api_key", api_key=issued.key)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")

    answer = client.post("/api/v1/knowledge-sources/s/documents/", {"title": "L", "text": TEXT}, format="json")
    document_ingest(answer.json()["job_id"])

    assert standings([held])[held.pk].used > 0
    assert UsageRecord._unscoped.get().key_id == issued.key.pk


def api(principal) -> APIClient:
    workspace = Workspace.objects.get(pk=principal.workspace_id)
    client = APIClient()
    text = api_key_issue(user=principal.user, workspace=workspace, name="x").text
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def test_a_forecast_is_on_the_safe_side_of_what_was_spent(site):
    principal, source = site
    ingest(principal, source)

    found = reindex_forecast(source)

    spent = UsageRecord._unscoped.get()
    assert (found.documents, found.currency) == (1, "USD")
    assert spent.input_tokens < found.tokens < 3 * spent.input_tokens  # the scripted vendor counts words
    assert found.cost == (found.tokens * Decimal("0.13") / 10**6).quantize(Decimal("1e-8"))
    again = files_forecast(source, [len(TEXT)])
    assert 0.9 < again.tokens / found.tokens < 1.1
    told = api(principal).get("/api/v1/knowledge-sources/s/forecast").json()
    assert (told["tokens"], Decimal(told["cost"]), told["over_budget"]) == (found.tokens, found.cost, "")


def test_a_forecast_names_the_budget_that_has_too_little(site):
    principal, source = site
    budget(principal, limit="0.00001")

    text = over_budget(files_forecast(source, [1_000_000]), principal.workspace_id)

    assert "the budget 'Trial' has 0.00001 USD left" in text


def command(principal, path) -> str:
    out = io.StringIO()
    call_command(
        "ingest", str(path), "--source", "s", "--workspace", principal.workspace_slug, "--user",
        principal.user.email, stdout=out,
    )  # fmt: skip
    return out.getvalue()


def test_the_command_says_what_it_will_cost_and_refuses_what_is_over_budget(site, tmp_path):
    principal, _ = site
    file = tmp_path / "leave.md"
    file.write_text(TEXT)

    assert "which cost about 0.000" in command(principal, file)
    budget(principal, unit="tokens", limit=10)
    (tmp_path / "more.md").write_text(TEXT + "More.")
    with pytest.raises(CommandError, match="'Trial' has 10 tokens left"):
        command(principal, tmp_path / "more.md")

    assert Document._unscoped.count() == 1
