import pytest
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from llm.tests.factories import ModelFactory
from prompts.models import PromptTemplate, PromptVariant
from prompts.seeds import seed_workspace

pytestmark = pytest.mark.django_db

PATH = "/api/v1/prompt-templates/"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Translate {{ text }}"}]
BODY = {"name": "Translate", "slug": "translate", "variant": {"messages": MESSAGES, "temperature": 0.2}}


def client_as(role: Role, workspace=None, scopes=tuple(Scope)) -> APIClient:
    options = {} if workspace is None else {"workspace": workspace}
    membership = MembershipFactory(role=role, **options)
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    client.workspace = membership.workspace
    return client


@pytest.fixture
def operator() -> APIClient:
    return client_as(Role.OPERATOR)


@pytest.fixture
def translate(operator) -> PromptTemplate:
    assert operator.post(PATH, BODY).status_code == 201
    return PromptTemplate.objects.for_workspace(operator.workspace.pk).get(slug="translate")


def change(client: APIClient, path: str, body: dict, version: str = "*"):
    return client.patch(path, body, headers={"If-Match": version})


def test_a_new_template_gets_draft_1(operator):
    answer = operator.post(PATH, BODY)

    assert answer.status_code == 201
    assert answer.json()["active_variant"] is None
    assert answer.json()["latest_variant"] == {"number": 1, "status": "draft", "is_active": False}
    draft = operator.get(f"{PATH}translate/variants/1/").json()
    assert draft["messages"] == MESSAGES
    assert draft["placeholders"] == ["text"]
    assert (draft["temperature"], draft["top_p"], draft["max_tokens"], draft["model"]) == (0.2, None, None, None)


@pytest.mark.parametrize(
    "variant",
    [
        {"messages": []},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": "text"},
        {"messages": MESSAGES, "temperature": 3},
        {"messages": MESSAGES, "top_p": -1},
        {},
    ],
)
def test_a_wrong_variant_creates_nothing(operator, variant):
    answer = operator.post(PATH, {**BODY, "variant": variant})

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert not PromptTemplate.objects.for_workspace(operator.workspace.pk).exists()


def test_the_life_of_a_variant(operator, translate):
    root = f"{PATH}translate/variants/"
    assert change(operator, f"{root}1/", {"note": "First"}, '"1"').status_code == 200
    assert operator.post(f"{root}1/publish").json()["is_active"] is True
    assert change(operator, f"{root}1/", {"note": "Late"}).status_code == 409

    second = operator.post(root, {"temperature": 0.9})
    assert (second.status_code, second.json()["number"], second.json()["messages"]) == (201, 2, MESSAGES)
    assert operator.post(root, {}).status_code == 409
    assert operator.post(f"{root}2/activate").status_code == 409
    assert operator.post(f"{root}2/publish").status_code == 200
    assert operator.get(f"{PATH}translate/").json()["active_variant"]["number"] == 2

    assert operator.post(f"{root}1/activate").json()["is_active"] is True
    changes = operator.get(f"{root}1/diff/2").json()["changes"]
    assert changes == [{"field": "temperature", "before": 0.2, "after": 0.9}]
    assert [one["number"] for one in operator.get(root).json()["results"]] == [2, 1]


def test_a_draft_may_name_a_model_of_its_workspace_only(operator, translate):
    ours = ModelFactory(provider__workspace=operator.workspace, slug="ours")
    theirs = ModelFactory()
    path = f"{PATH}translate/variants/1/"

    assert change(operator, path, {"model": "ours"}).json()["model"] == str(ours.pk)
    refused = change(operator, path, {"model": str(theirs.pk)})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/model"


def test_names_change_on_the_template_and_its_variants_stay(operator, translate):
    answer = change(operator, f"{PATH}translate/", {"name": "New", "variant": {"messages": [MESSAGES[0]]}}, '"1"')

    assert (answer.status_code, answer.json()["name"], answer["ETag"]) == (200, "New", '"2"')
    assert translate.variants.get().messages == MESSAGES


def test_a_template_is_deleted_with_its_variants(operator, translate):
    assert operator.delete(f"{PATH}translate/", headers={"If-Match": "*"}).status_code == 204
    assert not PromptVariant.objects.for_workspace(operator.workspace.pk).exists()


def test_lists_are_filtered(operator, translate):
    seed_workspace(operator.workspace.pk)

    found = operator.get(f"{PATH}?category=rag").json()["results"]
    assert [one["slug"] for one in found] == ["rag-answer"]
    assert operator.get(f"{PATH}?colour=red").status_code == 400


@pytest.mark.parametrize(
    "role, reads, writes", [(Role.USER, 404, 404), (Role.VIEWER, 200, 403), (Role.ADMIN, 200, 200)]
)
def test_each_role_has_its_rights(operator, translate, role, reads, writes):
    client = client_as(role, operator.workspace)
    variant = f"{PATH}translate/variants/1/"

    for path in (f"{PATH}translate/", f"{PATH}translate/variants/", variant):
        assert client.get(path).status_code == reads, path
    assert client.get(f"{PATH}translate/variants/1/diff/1").status_code == reads
    assert change(client, f"{PATH}translate/", {"name": "X"}).status_code == writes
    assert change(client, variant, {"note": "X"}).status_code == writes
    assert client.post(f"{variant}publish").status_code == writes
    assert client.post(f"{variant}activate").status_code == writes
    assert client.post(f"{PATH}translate/variants/", {}).status_code == (201 if writes == 200 else writes)
    assert client.get(PATH).status_code == 200
    created = client.post(PATH, {**BODY, "slug": "second"})
    assert created.status_code == (201 if writes == 200 else 403)


def test_a_key_without_the_scope_changes_nothing(operator, translate):
    client = client_as(Role.ADMIN, operator.workspace, scopes=[Scope.READ, Scope.RUN])

    assert client.get(f"{PATH}translate/").status_code == 200
    assert client.post(f"{PATH}translate/variants/1/publish").status_code == 403
    assert translate.variants.get().is_draft


def test_templates_of_another_workspace_do_not_exist(translate):
    stranger = client_as(Role.ADMIN)
    root = f"{PATH}{translate.pk}/"

    for path in (root, f"{root}variants/", f"{root}variants/1/", f"{root}variants/1/diff/1"):
        assert stranger.get(path).status_code == 404, path
    assert change(stranger, root, {"name": "X"}).status_code == 404
    assert stranger.post(f"{root}variants/1/publish").status_code == 404
    assert stranger.delete(root, headers={"If-Match": "*"}).status_code == 404
    assert stranger.get(PATH).json()["results"] == []


@pytest.mark.parametrize(
    "method, path", [("get", ""), ("post", ""), ("get", "x/"), ("post", "x/variants/1/publish"), ("get", "x/variants/")]
)
def test_nothing_is_open_without_credentials(method, path):
    assert getattr(APIClient(), method)(f"{PATH}{path}").status_code == 401
