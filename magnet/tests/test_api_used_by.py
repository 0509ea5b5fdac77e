"""What is in use is not deleted, and says who uses it: in the API and on the admin's page."""

import pytest

from core.access import Role
from knowledge.models import KnowledgeSource
from llm.choices import ModelKind
from llm.models import Model, Provider
from magnet.tests.admin_world import url
from magnet.tests.api_walk import PREFIX, client_of
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool

USED = [
    (PromptTemplate, "prompt-templates", {("rag_tool", "north qa")}),
    (RetrievalTool, "retrieval-tools", {("rag_tool", "north qa")}),
    (KnowledgeSource, "knowledge-sources", {("retrieval_tool", "north search")}),
    (Provider, "providers", {("model", f"north {kind}") for kind in ModelKind.values}),
    (Model, "models", {("knowledge_source", "north source")}),
]


@pytest.mark.parametrize(("model", "resource", "users"), USED, ids=[resource for _, resource, _ in USED])
def test_what_is_in_use_names_its_users(model, resource, users, north, south):
    client, row = client_of(north), north[model]

    answer = client.delete(f"{PREFIX}{resource}/{row.pk}/", headers={"If-Match": "*"})

    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    errors = answer.json()["errors"]
    assert {(one["type"], one["name"]) for one in errors} == users
    for one in errors:
        assert client.get(one["url"]).json()["id"] == one["id"]
        assert one["name"] in answer.json()["detail"]
    assert b"southern" not in answer.content
    assert model._unscoped.filter(pk=row.pk).exists()


def test_what_nobody_uses_goes(north):
    client = client_of(north)

    for resource, model in [("rag-tools", RagTool), ("retrieval-tools", RetrievalTool)]:
        path = f"{PREFIX}{resource}/{north[model].pk}/"
        assert client.delete(path, headers={"If-Match": "*"}).status_code == 204


@pytest.mark.parametrize(("model", "resource", "users"), USED, ids=[resource for _, resource, _ in USED])
def test_the_admin_names_them_too_and_offers_no_delete(model, resource, users, north, south):
    client = north.client(Role.ADMIN)

    page = client.get(url("delete", north[model])).content.decode()
    refused = client.post(url("delete", north[model]), {"post": "yes"})

    assert all(name in page for _, name in users)
    assert "southern" not in page
    assert 'name="post"' not in page
    assert refused.status_code == 200
    assert model._unscoped.filter(pk=north[model].pk).exists()
