import json
import uuid

import pytest
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from llm.choices import ModelKind
from llm.models import Model, Provider
from llm.tests.conftest import KEY
from llm.tests.factories import LocalModelFactory, ModelFactory, ProviderFactory
from observability.models import Trace, UsageRecord

pytestmark = pytest.mark.django_db

PROVIDERS = "/api/v1/providers/"
MODELS = "/api/v1/models/"


def client_as(role: Role, workspace=None, scopes=tuple(Scope)) -> APIClient:
    options = {} if workspace is None else {"workspace": workspace}
    membership = MembershipFactory(role=role, **options)
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    client.workspace = membership.workspace
    return client


@pytest.fixture
def admin() -> APIClient:
    return client_as(Role.ADMIN)


@pytest.fixture
def operator(admin) -> APIClient:
    return client_as(Role.OPERATOR, admin.workspace)


@pytest.fixture
def provider(admin, scripted_provider_row) -> Provider:
    return scripted_provider_row(admin.workspace, slug="scripted")


def test_a_vendors_models_are_listed(operator, provider):
    answer = operator.post(f"{PROVIDERS}scripted/available-models")

    assert answer.status_code == 200
    kinds = {one["identifier"]: one["kind"] for one in answer.json()["results"]}
    assert (kinds["ok"], kinds["embed"]) == ("chat", "embedding")


def test_a_refused_key_is_told_in_the_vendors_words_and_without_the_key(operator, provider, caplog):
    provider.api_key = "unauthorized-key-0123456789"
    provider.save()

    answer = operator.post(f"{PROVIDERS}scripted/available-models")

    assert answer.status_code == 502
    assert "HTTP 401" in answer.json()["detail"]
    assert "Incorrect API key provided" in answer.json()["detail"]
    assert "unauthorized-key" not in answer.content.decode() + caplog.text


def change(client: APIClient, path: str, body: dict, version: str = "*"):
    return client.patch(path, body, headers={"If-Match": version})


# --- providers


def test_an_admin_creates_a_provider_whose_key_is_never_shown(admin, scripted):
    answer = admin.post(
        PROVIDERS,
        {"name": "Ours", "slug": "ours", "type": "openai", "base_url": f"{scripted.url}/", "api_key": KEY},
    )

    assert answer.status_code == 201
    assert answer.json()["has_api_key"] is True
    assert answer.json()["base_url"] == scripted.url
    assert answer["ETag"] == '"1"'
    stored = Provider.objects.for_workspace(admin.workspace.pk).get()
    assert stored.api_key.reveal() == KEY
    for path in (PROVIDERS, f"{PROVIDERS}ours/", f"{PROVIDERS}{stored.pk}/", f"{PROVIDERS}?search=ours"):
        shown = admin.get(path)
        assert shown.status_code == 200
        assert KEY not in shown.content.decode()
        assert "api_key" not in json.dumps(shown.json()).replace("has_api_key", "")


def test_another_base_url_clears_the_key(admin, provider, settings, scripted):
    settings.OUTBOUND_ALLOW = {"provider": scripted.allow["provider"] | {"127.0.0.1:9"}}

    answer = change(admin, f"{PROVIDERS}scripted/", {"base_url": "http://127.0.0.1:9/v1"}, '"1"')

    assert answer.status_code == 200
    assert answer.json()["has_api_key"] is False
    provider.refresh_from_db()
    assert provider.api_key.reveal() == ""


def test_another_base_url_with_a_new_key_keeps_the_new_one(admin, provider, settings, scripted):
    settings.OUTBOUND_ALLOW = {"provider": scripted.allow["provider"] | {"127.0.0.1:9"}}

    change(admin, f"{PROVIDERS}scripted/", {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-new"})

    provider.refresh_from_db()
    assert provider.api_key.reveal() == "sk-new"


def test_what_leaves_the_base_url_alone_keeps_the_key(admin, provider):
    change(admin, f"{PROVIDERS}scripted/", {"name": "Renamed", "base_url": f"{provider.base_url}/"})

    provider.refresh_from_db()
    assert (provider.name, provider.api_key.reveal(), provider.version) == ("Renamed", KEY, 2)


def test_an_empty_key_clears_it(admin, provider):
    assert change(admin, f"{PROVIDERS}scripted/", {"api_key": ""}).json()["has_api_key"] is False


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://169.254.169.254/latest",
        "http://localhost/v1",
        "http://2130706433/v1",
        "https://user:password@llm.example.org/v1",
        "ftp://llm.example.org/v1",
        "file:///etc/passwd",
        "llm.example.org",
    ],
)
def test_an_address_that_may_not_be_reached_is_refused(admin, url, provider):
    created = admin.post(PROVIDERS, {"name": "X", "slug": "x", "type": "openai", "base_url": url})
    changed = change(admin, f"{PROVIDERS}scripted/", {"base_url": url})

    assert (created.status_code, changed.status_code) == (400, 400)
    assert created.json()["errors"][0]["pointer"] == "/base_url"
    provider.refresh_from_db()
    assert provider.api_key.reveal() == KEY


def test_the_local_provider_has_no_address(admin):
    answer = admin.post(PROVIDERS, {"name": "X", "slug": "x", "type": "local", "base_url": "https://llm.example.org"})

    assert answer.json()["errors"][0]["code"] == "local"


def test_the_type_of_a_provider_stays(admin, provider):
    answer = change(admin, f"{PROVIDERS}scripted/", {"type": "local"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/type"


def test_changing_a_provider_asks_for_its_version(admin, provider):
    path = f"{PROVIDERS}scripted/"

    assert admin.patch(path, {"name": "X"}).status_code == 428
    assert change(admin, path, {"name": "X"}, '"7"').status_code == 412
    assert admin.delete(path).status_code == 428


def test_a_provider_with_models_is_in_use(admin, provider):
    ModelFactory(provider=provider, name="Its model")

    answer = admin.delete(f"{PROVIDERS}scripted/", headers={"If-Match": "*"})

    assert answer.status_code == 409
    assert "Its model" in answer.json()["detail"]


def test_a_provider_without_models_is_deleted(admin, provider):
    assert admin.delete(f"{PROVIDERS}scripted/", headers={"If-Match": "*"}).status_code == 204
    assert not Provider.objects.for_workspace(admin.workspace.pk).exists()


# --- models


def test_an_operator_creates_a_model_and_the_catalogue_fills_it_in(operator, provider):
    answer = operator.post(
        MODELS,
        {
            "name": "Small",
            "slug": "small",
            "provider": "scripted",
            "kind": "embedding",
            "identifier": "text-embedding-3-small",
        },
    )

    assert answer.status_code == 201
    assert (answer.json()["dimensions"], answer.json()["max_input_tokens"]) == (1536, 8191)
    assert answer.json()["provider"] == str(provider.pk)


def test_what_is_given_rules_over_the_catalogue(operator, provider):
    body = {"name": "S", "slug": "s", "provider": "scripted", "kind": "embedding", "dimensions": 256, "shortens": True}

    answer = operator.post(MODELS, {**body, "identifier": "text-embedding-3-small"})

    assert (answer.json()["dimensions"], answer.json()["shortens"]) == (256, True)


def test_one_model_of_a_kind_is_the_default(operator, provider):
    before = ModelFactory(provider=provider, is_default=True)
    other_kind = ModelFactory(provider=provider, kind=ModelKind.EMBEDDING, is_default=True)
    after = ModelFactory(provider=provider)

    assert change(operator, f"{MODELS}{after.slug}/", {"is_default": True}).status_code == 200

    defaults = Model.objects.for_workspace(provider.workspace_id).filter(is_default=True)
    assert set(defaults.values_list("pk", flat=True)) == {after.pk, other_kind.pk}
    before.refresh_from_db()
    assert before.version == 2


def test_a_new_default_takes_it_from_the_one_before(operator, provider):
    before = ModelFactory(provider=provider, is_default=True)
    body = {"name": "S", "slug": "s", "provider": "scripted", "kind": "chat", "identifier": "ok", "is_default": True}

    assert operator.post(MODELS, body).status_code == 201

    before.refresh_from_db()
    assert not before.is_default


@pytest.mark.parametrize("slug", ["default-chat", "default-embedding", "7934950c-edf7-4ba0-933a-3775d4e6b810"])
def test_reserved_slugs_are_refused(operator, provider, slug):
    body = {"name": "S", "slug": slug, "provider": "scripted", "kind": "chat", "identifier": "ok"}

    assert operator.post(MODELS, body).json()["errors"][0]["pointer"] == "/slug"


def test_lists_are_filtered_and_unknown_filters_refused(operator, provider):
    ModelFactory(provider=provider, slug="a", kind=ModelKind.CHAT)
    ModelFactory(provider=provider, slug="b", kind=ModelKind.EMBEDDING)

    def slugs(query: str) -> list[str]:
        return [one["slug"] for one in operator.get(f"{MODELS}?{query}").json()["results"]]

    assert slugs("kind=embedding") == ["b"]
    assert slugs(f"provider={provider.pk}&ordering=-created_at") == ["b", "a"]
    assert slugs(f"provider={uuid.uuid4()}") == []
    assert operator.get(f"{MODELS}?colour=red").status_code == 400
    assert operator.get(f"{MODELS}?kind=video").status_code == 400


# --- trying a model


def test_a_chat_model_is_tried(operator, provider):
    model = ModelFactory(provider=provider, identifier="ok")

    answer = operator.post(f"{MODELS}{model.slug}/test")

    assert answer.status_code == 200
    assert answer.json()["model"] == "ok-2026"
    assert answer.json()["text"].startswith("The scripted answer")
    assert answer.json()["duration_ms"] > 0
    trace = Trace.objects.for_workspace(provider.workspace_id).get()
    usage = UsageRecord.objects.for_workspace(provider.workspace_id).get()
    assert (trace.kind, usage.trace_id, usage.output_tokens) == ("model_test", trace.pk, 10)


def test_an_embedding_model_is_tried(operator, provider):
    model = ModelFactory(provider=provider, identifier="embed", kind=ModelKind.EMBEDDING)

    assert operator.post(f"{MODELS}{model.slug}/test").json()["dimensions"] == 32


def test_the_local_models_are_tried(operator):
    local = ProviderFactory(workspace=operator.workspace, type="local")
    embedding = LocalModelFactory(provider=local)
    extractive = ModelFactory(provider=local, identifier="extractive")

    assert operator.post(f"{MODELS}{embedding.slug}/test").json()["dimensions"] == 384
    assert operator.post(f"{MODELS}{extractive.slug}/test").json()["text"]


@pytest.mark.parametrize("identifier, status", [("unauthorized", 502), ("rate-limited", 503)])
def test_a_model_that_fails_says_why_and_tells_no_secret(operator, provider, identifier, status):
    model = ModelFactory(provider=provider, identifier=identifier, slug="failing")

    answer = operator.post(f"{MODELS}failing/test")

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert "Model 'failing' of provider 'scripted'." in answer.json()["detail"]
    assert not any(secret in answer.content.decode() for secret in (KEY, "sk-", "Bearer"))
    assert UsageRecord.objects.for_workspace(model.workspace_id).get().status == "error"


def test_an_inactive_model_is_refused_by_name(operator, provider, scripted):
    ModelFactory(provider=provider, slug="off", is_active=False)

    answer = operator.post(f"{MODELS}off/test")

    assert answer.status_code == 409
    assert "'off' is switched off" in answer.json()["detail"]
    assert scripted.calls == []


# --- who may do what

BODIES = {
    PROVIDERS: {"name": "N", "slug": "n", "type": "openai"},
    MODELS: {"name": "N", "slug": "n", "kind": "chat", "identifier": "ok"},
}


@pytest.mark.parametrize(
    "role, reads, models, providers",
    [
        (Role.USER, 403, 403, 403),
        (Role.VIEWER, 200, 403, 403),
        (Role.OPERATOR, 200, 201, 403),
        (Role.ADMIN, 200, 201, 201),
    ],
)
def test_each_role_has_its_rights(role, reads, models, providers, scripted_provider_row):
    client = client_as(role)
    provider = scripted_provider_row(client.workspace, slug="given")
    model = ModelFactory(provider=provider, slug="given", identifier="ok")
    tried, edited = (200, 200) if models == 201 else (403, 403)

    for path in (PROVIDERS, MODELS, f"{PROVIDERS}given/", f"{MODELS}given/"):
        assert client.get(path).status_code == reads, path
    assert client.post(MODELS, {**BODIES[MODELS], "provider": str(provider.pk)}).status_code == models
    assert change(client, f"{MODELS}given/", {"name": "X"}).status_code == edited
    assert client.post(f"{MODELS}given/test").status_code == tried
    assert client.post(PROVIDERS, BODIES[PROVIDERS]).status_code == providers
    assert change(client, f"{PROVIDERS}given/", {"name": "X"}).status_code == (200 if providers == 201 else 403)
    assert client.delete(f"{MODELS}given/", headers={"If-Match": "*"}).status_code == (204 if models == 201 else 403)
    unchanged = Model.objects.for_workspace(client.workspace.pk).filter(pk=model.pk).exists()
    assert unchanged is (models == 403)


def test_a_key_without_the_scope_changes_nothing(scripted_provider_row):
    client = client_as(Role.ADMIN, scopes=[Scope.READ])
    scripted_provider_row(client.workspace, slug="given")

    assert client.get(f"{PROVIDERS}given/").status_code == 200
    assert change(client, f"{PROVIDERS}given/", {"name": "X"}).status_code == 403
    assert client.post(PROVIDERS, BODIES[PROVIDERS]).status_code == 403


@pytest.mark.parametrize(
    "method, path",
    [
        ("get", PROVIDERS),
        ("post", PROVIDERS),
        ("get", MODELS),
        ("post", MODELS),
        ("get", f"{MODELS}x/"),
        ("patch", f"{MODELS}x/"),
        ("delete", f"{PROVIDERS}x/"),
        ("post", f"{MODELS}x/test"),
    ],
)
def test_nothing_is_open_without_credentials(method, path):
    assert getattr(APIClient(), method)(path).status_code == 401


def test_rows_of_another_workspace_do_not_exist(admin, scripted_provider_row):
    stranger = client_as(Role.ADMIN)
    theirs = scripted_provider_row(stranger.workspace, slug="theirs")
    model = ModelFactory(provider=theirs, slug="theirs")

    for path in (f"{PROVIDERS}theirs/", f"{PROVIDERS}{theirs.pk}/", f"{MODELS}theirs/", f"{MODELS}{model.pk}/"):
        assert admin.get(path).status_code == 404
        assert change(admin, path, {"name": "X"}).status_code == 404
        assert admin.delete(path, headers={"If-Match": "*"}).status_code == 404
    assert admin.post(f"{MODELS}{model.pk}/test").status_code == 404
    assert admin.get(PROVIDERS).json()["results"] == []
    assert admin.get(MODELS).json()["results"] == []
    refused = admin.post(MODELS, {**BODIES[MODELS], "provider": str(theirs.pk)})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/provider"


def test_lists_ask_the_database_as_often_for_many_rows_as_for_one(
    operator, provider, django_assert_num_queries, django_assert_max_num_queries
):
    ModelFactory(provider=provider)
    operator.get(MODELS)  # the first call of a key notes its use
    with django_assert_max_num_queries(4) as first:
        operator.get(MODELS)
    for _ in range(10):
        ModelFactory(provider=provider)

    with django_assert_num_queries(len(first)):
        operator.get(MODELS)
