import pytest
from rest_framework.test import APIClient

from accounts.models import Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Principal, Role, Scope
from knowledge.ingesting import document_ingest
from knowledge.models import Document, KnowledgeSource
from knowledge.services import Upload, document_upload
from knowledge.tests.factories import SourceFactory
from llm.choices import ModelKind
from llm.tests.factories import ModelFactory, ProviderFactory
from observability.models import Job


@pytest.fixture(autouse=True)
def storage_dir(settings, tmp_path):
    """The files of documents stand apart for each test."""
    settings.STORAGE_DIR = tmp_path / "storage"
    return settings.STORAGE_DIR


@pytest.fixture
def membership(db) -> Membership:
    """An operator of a workspace."""
    return MembershipFactory(role=Role.OPERATOR)


@pytest.fixture
def principal(membership) -> Principal:
    return principal_of(membership)


@pytest.fixture
def source_with(scripted, membership):
    """A source whose embedding model is this one of the scripted provider: `source_with("embed")`."""

    def make(identifier: str = "embed", **fields) -> KnowledgeSource:
        provider = ProviderFactory(workspace=membership.workspace, base_url=scripted.url, api_key="sk-tests")
        model = ModelFactory(provider=provider, kind=ModelKind.EMBEDDING, identifier=identifier, timeout_seconds=2)
        return SourceFactory(**{"workspace": membership.workspace, "embedding_model": model, **fields})

    return make


@pytest.fixture
def upload(principal):
    """Bring a text or file in: `upload(source, "text", external_id="a")` gives (document, job)."""

    def make(source: KnowledgeSource, content, **options) -> tuple[Document, Job]:
        return document_upload(principal=principal, source=source, upload=Upload(content, **options))

    return make


@pytest.fixture
def ingest(upload):
    """The same, and do the worker's part."""

    def make(source: KnowledgeSource, content, **options) -> Document:
        document, job = upload(source, content, **options)
        document_ingest(job.pk)
        return Document._unscoped.get(pk=document.pk)

    return make


@pytest.fixture
def client_of():
    """An API client with a key of this member: `client_of(membership, scopes=[…])`."""

    def make(membership: Membership, scopes=tuple(Scope)) -> APIClient:
        key = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", scopes=scopes)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key.text}")
        return client

    return make
