import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from accounts.tests.smtp import mail_server
from core.access import Role, Scope


@pytest.fixture
def member(db) -> Membership:
    """An operator of a workspace."""
    return MembershipFactory(role=Role.OPERATOR)


@pytest.fixture
def issue():
    """Issue a key for a member: `issue(member, scopes=[…])` gives (row, text)."""

    def make(membership: Membership, **options) -> tuple[ApiKey, str]:
        issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", **options)
        return issued.key, issued.text

    return make


@pytest.fixture
def client_of(issue):
    """An API client with a key of this member."""

    def make(membership: Membership, scopes=tuple(Scope)) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {issue(membership, scopes=scopes)[1]}")
        return client

    return make


@pytest.fixture
def post_office(settings):
    """A real mail server; what the broker would hand to a worker is done when the test says so."""
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.DEFAULT_FROM_EMAIL = "magnet@example.org"
        yield server
