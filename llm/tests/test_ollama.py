"""An Ollama on this machine: looked for where the settings say, offered, and connected with one click."""

import pytest
from django.core.management import call_command
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.tests.factories import MembershipFactory
from core import valkey
from core.access import Role
from core.exceptions import Conflict
from core.tests.at_once import twice_at_once
from llm import ollama
from llm.models import Model, Provider
from llm.tests.factories import ProviderFactory
from llm.tests.test_api import client_as
from magnet.environment import Environment, SettingError
from magnet.settings.network import ollama_url
from magnet.tests import scripted_vendors
from magnet.tests.admin_world import signed_in, world
from magnet.tests.scripted_vendors import VendorServer
from rag.models import RagTool

pytestmark = pytest.mark.django_db

CONNECT = "Use the Ollama on this machine"
LOOK = "Look for Ollama"


@pytest.fixture
def server(settings):
    """A running Ollama at the address of the settings, which nobody has looked for yet."""
    with VendorServer(scripted_vendors.ollama) as found:
        settings.OLLAMA_URL, settings.OUTBOUND_ALLOW = found.url, found.allow
        valkey.sync_client().delete(ollama.KEY)
        yield found


@pytest.fixture
def admin(server):
    return MembershipFactory(role=Role.ADMIN)


def models_of(workspace) -> dict[str, tuple]:
    rows = Model.objects.for_workspace(workspace.pk).filter(provider__type="ollama")
    return {one.slug: (one.identifier, one.kind, one.max_input_tokens, one.tool_calling) for one in rows}


def test_one_call_connects_it_with_its_models_and_a_second_adds_nothing(admin):
    api = client_as(Role.ADMIN, admin.workspace)

    looked = api.post("/api/v1/ollama/look").json()["results"]
    first = api.post("/api/v1/ollama/connect")
    events = AuditEvent.objects.count()
    second = api.post("/api/v1/ollama/connect")

    assert [(one["identifier"], one["kind"], one["max_input_tokens"]) for one in looked] == [
        ("llama3.2:latest", "chat", 4096),
        ("nomic-embed-text:latest", "embedding", 2048),
        ("old-chat:7b", "chat", 4096),
    ]
    assert first.json() == second.json()
    assert first.json() == {
        "provider": "ollama", "models": ["llama3-2", "nomic-embed-text", "old-chat-7b"], "drafts": [],
    }  # fmt: skip
    provider = Provider.objects.for_workspace(admin.workspace_id).get()
    assert (provider.type, provider.base_url) == ("ollama", ollama.address())
    assert models_of(admin.workspace) == {
        "llama3-2": ("llama3.2:latest", "chat", 4096, True),
        "nomic-embed-text": ("nomic-embed-text:latest", "embedding", 2048, True),
        "old-chat-7b": ("old-chat:7b", "chat", 4096, True),
    }
    assert AuditEvent.objects.filter(action="create", object_type__in=["provider", "model"]).count() == 4
    assert AuditEvent.objects.count() == events


def test_the_tools_get_drafts_with_its_first_chat_model(server):
    made = world("ollama")

    told = ollama.ollama_connect(principal=made.principal).drafts

    assert [(one.kind, one.state) for one in told] == [("rag_tool", "created"), ("prompt_template", "created")]
    assert made[RagTool].variants.get(status="draft").model.identifier == "llama3.2:latest"
    assert made[RagTool].variants.get(is_active=True).model.provider.type == "local"


def test_a_model_that_was_pulled_later_is_added_by_the_next_click(admin, monkeypatch):
    api = client_as(Role.ADMIN, admin.workspace)
    api.post("/api/v1/ollama/connect")
    later = {**scripted_vendors.OLLAMA_MODELS, "old-chat-7b": {"capabilities": ["completion"]}}
    monkeypatch.setattr(scripted_vendors, "OLLAMA_MODELS", later)

    told = api.post("/api/v1/ollama/connect").json()

    assert told["models"] == ["llama3-2", "nomic-embed-text", "old-chat-7b", "old-chat-7b-2"]
    assert Provider.objects.for_workspace(admin.workspace_id).count() == 1


def test_another_provider_of_the_same_slug_stays_apart(admin):
    ProviderFactory(workspace=admin.workspace, slug="ollama", type="openai")

    assert client_as(Role.ADMIN, admin.workspace).post("/api/v1/ollama/connect").json()["provider"] == "ollama-2"


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_provider(admin):
    principal = world("ollama-twice").principal

    told = twice_at_once(lambda: ollama.ollama_connect(principal=principal).model_slugs)

    assert len(told) == 2
    assert told[0] == told[1]
    assert Provider.objects.for_workspace(principal.workspace_id).filter(type="ollama").count() == 1


# --- where there is none


def test_none_that_answers_is_told_with_what_to_do(admin, server):
    with server.down():
        answer = client_as(Role.ADMIN, admin.workspace).post("/api/v1/ollama/connect")

    assert answer.status_code == 409
    assert "No Ollama answers at" in answer.json()["detail"]
    assert "OLLAMA_HOST" in answer.content.decode()
    assert Provider.objects.for_workspace(admin.workspace_id).count() == 0


@pytest.mark.parametrize("answer", [{"models": []}, {"models": [{"title": "x"}]}, [], {"models": 7}])
def test_what_is_no_ollama_or_empty_makes_nothing(admin, settings, answer):
    async def says(exchange) -> None:
        await exchange.json(200, answer)

    with VendorServer(says) as other:
        settings.OLLAMA_URL, settings.OUTBOUND_ALLOW = other.url, other.allow
        refused = client_as(Role.ADMIN, admin.workspace).post("/api/v1/ollama/connect")

    assert refused.status_code == 409
    assert Provider.objects.for_workspace(admin.workspace_id).count() == 0


def test_without_the_setting_nobody_is_asked(admin, server, settings):
    settings.OLLAMA_URL = ""
    principal = world("ollama-off").principal

    with pytest.raises(Conflict, match="OLLAMA_HOST"):
        ollama.ollama_look(principal=principal)
    call_command("seed", verbosity=0)

    assert server.calls == []
    assert ollama.remembered() == ()


def test_an_address_that_is_not_allowed_is_not_called(admin, server, settings):
    settings.OUTBOUND_ALLOW = {}

    answer = client_as(Role.ADMIN, admin.workspace).post("/api/v1/ollama/look")

    assert answer.status_code == 409
    assert server.calls == []


# --- the admin


def test_the_start_looks_and_the_overview_offers(admin, server):
    client = signed_in(admin.user)
    assert CONNECT not in client.get("/admin/").content.decode()
    assert server.calls == []

    ollama.look_at_start()

    page = client.get("/admin/").content.decode()
    assert CONNECT in page
    assert "It has llama3.2:latest, nomic-embed-text:latest, old-chat:7b." in page.replace(" and ", ", ")
    asked = len(server.calls)
    client.get("/admin/")
    client.get(reverse("admin:llm_provider_changelist"))
    assert len(server.calls) == asked


def test_the_buttons_of_the_list_look_and_connect(admin):
    client, listing = signed_in(admin.user), reverse("admin:llm_provider_changelist")

    assert LOOK in client.get(listing).content.decode()
    looked = client.post(reverse("admin:llm_provider_look_for_ollama"), follow=True).content.decode()
    connected = client.post(reverse("admin:llm_provider_connect_ollama"), follow=True).content.decode()

    assert "Ollama answers, with llama3.2:latest" in looked
    assert CONNECT in looked
    assert "Ollama is connected, with llama3.2" in connected
    after = client.get(listing).content.decode()
    assert CONNECT not in after
    assert LOOK not in after


def test_the_button_says_why_there_is_none(admin, server):
    client = signed_in(admin.user)

    with server.down():
        page = client.post(reverse("admin:llm_provider_look_for_ollama"), follow=True).content.decode()

    assert "No Ollama answers at" in page
    assert LOOK in page


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_who_is_no_admin_is_offered_nothing(admin, server, role):
    client = signed_in(MembershipFactory(workspace=admin.workspace, role=role).user)
    ollama.look_at_start()
    server.reset()

    for page in ("/admin/", reverse("admin:llm_provider_changelist")):
        assert CONNECT not in client.get(page).content.decode()
        assert LOOK not in client.get(page).content.decode()
    for name in ("look_for_ollama", "connect_ollama"):
        assert client.post(reverse(f"admin:llm_provider_{name}")).status_code == 403
        assert signed_in(admin.user).get(reverse(f"admin:llm_provider_{name}")).status_code == 403
    assert client_as(role, admin.workspace).post("/api/v1/ollama/look").status_code == 403
    assert client_as(role, admin.workspace).post("/api/v1/ollama/connect").status_code == 403
    assert server.calls == []


def test_pages_bear_a_valkey_that_is_away(admin, server, valkey_away):
    assert CONNECT not in signed_in(admin.user).get("/admin/").content.decode()
    ollama.look_at_start()


# --- the setting


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("off", ""),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("gpu.example.org", "http://gpu.example.org:11434"),
        ("gpu:8080", "http://gpu:8080"),
        ("https://gpu.example.org/", "https://gpu.example.org:443"),
        ("[::1]:11434", "http://[::1]:11434"),
    ],
)
def test_the_address_is_read_as_ollamas_own_client_does(text, url):
    assert ollama_url(Environment({"OLLAMA_HOST": text}), "127.0.0.1:11434") == url


@pytest.mark.parametrize(
    "text", ["ftp://x:1", "http://u:p@x", "http://x/api", "http://", "x:port", "http://x?y=1", "ftp://x", "x:99999"]
)
def test_an_address_that_is_none_is_refused_by_name(text):
    with pytest.raises(SettingError, match="OLLAMA_HOST"):
        ollama_url(Environment({"OLLAMA_HOST": text}), "")
