"""A provider's key under another ring of keys, or moved to another row: a clear error, and nobody is called."""

import base64
import io

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role
from llm.models import Provider
from llm.tests.factories import ModelFactory

pytestmark = pytest.mark.django_db(transaction=True)
OLD, NEW = (f"{name}:{base64.b64encode(name[0].encode() * 32).decode()}" for name in ("old", "new"))


@pytest.fixture
def operator() -> APIClient:
    membership = MembershipFactory(role=Role.OPERATOR)
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    client.workspace = membership.workspace
    return client


@pytest.fixture
def provider(settings, operator, scripted, scripted_provider_row) -> Provider:
    settings.ENCRYPTION_KEYS = [OLD]
    made = scripted_provider_row(operator.workspace)
    ModelFactory(provider=made, workspace=operator.workspace, slug="ok", identifier="ok")
    scripted.calls.clear()
    return made


def tried(operator) -> tuple[int, str]:
    answer = operator.post("/api/v1/models/ok/test")
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize("ring", [[NEW], ["old:" + NEW.partition(":")[2]]], ids=["another id", "another key"])
def test_a_wrong_key_is_said_and_nobody_is_called(ring, operator, provider, scripted, settings):
    settings.ENCRYPTION_KEYS = ring

    status, code = tried(operator)

    assert status >= 400
    assert code == "decryption_failed"
    assert scripted.calls == []


def test_a_secret_of_another_row_is_refused_and_nobody_is_called(operator, provider, scripted, scripted_provider_row):
    other = scripted_provider_row(operator.workspace, api_key="sk-of-somebody-else")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE llm_provider SET api_key = (SELECT api_key FROM llm_provider WHERE id = %s) WHERE id = %s",
            [other.pk, provider.pk],
        )

    assert tried(operator)[1] == "decryption_failed"
    assert scripted.calls == []


def test_after_rotation_the_old_key_can_go(operator, provider, scripted, settings):
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    call_command("rotate_encryption_keys", stdout=io.StringIO())
    settings.ENCRYPTION_KEYS = [NEW]

    assert tried(operator)[0] == 200
    assert len(scripted.calls) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM llm_provider WHERE api_key LIKE 'enc1:old:%%'")
        assert cursor.fetchone()[0] == 0
