import pytest
from rest_framework.test import APIClient

from accounts.tests.factories import MembershipFactory
from core.access import Role
from rag.models import RagTool, RagVariant, RetrievalTool


def client_of(world, member=None) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=world.headers(member)["Authorization"])
    return client


def test_a_tool_is_made_published_changed_and_rolled_back(world):
    client = client_of(world)
    created = client.post(
        "/api/v1/rag-tools/",
        {"name": "Second", "slug": "second", "variant": {"retrieval_tool": "rules-search", "prompt": "rag-answer"}},
    )
    assert created.status_code == 201
    assert created.json()["latest_variant"] == {"number": 1, "status": "draft", "is_active": False}
    assert created.json()["active_variant"] is None
    base = "/api/v1/rag-tools/second/variants/"

    assert client.post(f"{base}1/publish").json()["is_active"] is True
    assert client.patch(f"{base}1/", {"note": "x"}, HTTP_IF_MATCH="*").status_code == 409
    assert client.post(base, {}).json()["number"] == 2
    assert client.post(base, {}).status_code == 409
    changed = client.patch(f"{base}2/", {"retrieval_variant": 1}, HTTP_IF_MATCH='"1"')
    assert (changed.status_code, changed["ETag"]) == (200, '"2"')
    assert client.get(f"{base}1/diff/2").json()["changes"] == [
        {"field": "retrieval_variant", "before": None, "after": 1}
    ]
    client.post(f"{base}2/publish")
    assert client.post(f"{base}1/activate").json()["is_active"] is True
    assert [(v["number"], v["is_active"]) for v in client.get(base).json()["results"]] == [(2, False), (1, True)]


def test_variants_of_a_retrieval_tool_name_their_sources(world):
    client = client_of(world)
    base = "/api/v1/retrieval-tools/rules-search/variants/"

    draft = client.post(base, {"copy_of": 1, "top_k": 7}).json()

    assert (draft["sources"], draft["top_k"]) == ([str(world.source.pk)], 7)
    assert client.patch(f"{base}2/", {"sources": []}, HTTP_IF_MATCH="*").json()["sources"] == []
    assert client.post(base, {"copy_of": "x"}).status_code == 404
    assert client.get(f"{base}9/").status_code == 404


@pytest.mark.parametrize("value", [0, 51, "many"])
def test_settings_out_of_bounds_are_refused(world, value):
    client = client_of(world)
    body = {"name": "T", "slug": "t", "variant": {"sources": ["rules"], "top_k": value}}

    answer = client.post("/api/v1/retrieval-tools/", body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/variant/top_k"
    assert not RetrievalTool.objects.for_workspace(world.member.workspace_id).filter(slug="t").exists()


def test_texts_for_people_change_with_the_right_version_only(world):
    client = client_of(world)
    url = "/api/v1/rag-tools/rules-qa/"

    assert client.patch(url, {"name": "A"}).status_code == 428
    assert client.patch(url, {"name": "A"}, HTTP_IF_MATCH='"9"').status_code == 412
    assert client.patch(url, {"name": "A", "version": 99}, HTTP_IF_MATCH='"1"').json()["version"] == 2
    assert client.get(url)["ETag"] == '"2"'


def test_what_is_in_use_is_not_deleted_and_says_who_uses_it(world):
    client = client_of(world)

    answer = client.delete("/api/v1/retrieval-tools/rules-search/", HTTP_IF_MATCH="*")

    assert answer.status_code == 409
    assert answer.json()["detail"] == "This is used by: RAG tool 'Rules'."
    assert client.delete("/api/v1/rag-tools/rules-qa/", HTTP_IF_MATCH="*").status_code == 204
    assert not RagVariant._unscoped.exists()


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER])
def test_who_may_not_configure_changes_nothing(world, role):
    client = client_of(world, world.colleague(role))

    assert client.post("/api/v1/rag-tools/", {"name": "X", "slug": "x"}).status_code == 403
    assert client.patch("/api/v1/rag-tools/rules-qa/", {"name": "X"}, HTTP_IF_MATCH="*").status_code == 403
    assert client.delete("/api/v1/rag-tools/rules-qa/", HTTP_IF_MATCH="*").status_code == 403
    assert RagTool.objects.for_workspace(world.member.workspace_id).get().name == "Rules"


def test_a_user_knows_published_tools_only(world):
    client_of(world).post(
        "/api/v1/rag-tools/",
        {"name": "Draft", "slug": "draft", "variant": {"retrieval_tool": "rules-search", "prompt": "rag-answer"}},
    )
    user = client_of(world, world.colleague(Role.USER))

    assert [one["slug"] for one in user.get("/api/v1/rag-tools/").json()["results"]] == ["rules-qa"]
    assert len(client_of(world).get("/api/v1/rag-tools/").json()["results"]) == 2


def test_another_workspace_sees_and_uses_nothing(world):
    stranger = MembershipFactory(role=Role.ADMIN)
    client = client_of(world, stranger)

    assert client.get("/api/v1/rag-tools/").json()["results"] == []
    for url in (f"/api/v1/rag-tools/{world.tool.pk}/", "/api/v1/retrieval-tools/rules-search/variants/"):
        assert client.get(url).status_code == 404
    assert client.patch("/api/v1/rag-tools/rules-qa/", {}, HTTP_IF_MATCH="*").status_code == 404
    body = {"name": "X", "slug": "x", "variant": {"sources": [str(world.source.pk)]}}
    answer = client.post("/api/v1/retrieval-tools/", body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"].startswith("/variant/sources")


def test_a_rag_tool_needs_its_parts(world):
    answer = client_of(world).post("/api/v1/rag-tools/", {"name": "X", "slug": "x"})

    assert answer.status_code == 400
    assert "needs a retrieval tool" in answer.json()["detail"]


def test_a_list_takes_the_same_queries_for_few_and_many(world, django_assert_max_num_queries):
    client = client_of(world)
    for number in range(5):
        variant = {"retrieval_tool": "rules-search", "prompt": "rag-answer"}
        client.post("/api/v1/rag-tools/", {"name": f"T{number}", "slug": f"t{number}", "variant": variant})

    with django_assert_max_num_queries(7):
        assert len(client.get("/api/v1/rag-tools/").json()["results"]) == 6
