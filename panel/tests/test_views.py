"""The panel: who sees what, and how one signs in."""

import pytest
from django.test import Client

from accounts.models import User, Workspace
from accounts.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory, principal_of
from core.access import Principal, Role
from core.variant_services import variant_create_draft, variant_publish
from knowledge.services import source_create
from llm.choices import ModelKind, ProviderType
from llm.services import model_create, provider_create
from prompts.services import prompt_create
from rag.models import RagTool
from rag.services import rag_tool_create, retrieval_tool_create

SAMPLE = "How much leave?"

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text(response) -> str:
    return response.content.decode()


def rag_tool(principal: Principal, slug: str = "handbook-qa", published: bool = True) -> RagTool:
    """A RAG tool with what it needs."""
    who, slugged = principal, {"name": f"{slug} part", "slug": f"{slug}-part"}
    provider = provider_create(principal=who, values={**slugged, "type": ProviderType.LOCAL})
    for kind in ModelKind:
        values = {"name": f"{slug} {kind.value}", "slug": f"{slug}-{kind.value}", "kind": kind}
        model_create(principal=who, values={**values, "provider": provider, "identifier": "m", "is_default": True})
    source = source_create(principal=who, values=slugged)
    search = retrieval_tool_create(principal=who, values=slugged, variant={"sources": [source]})
    messages = [{"role": "user", "content": "{{ context }} {{ question }}"}]
    prompt = prompt_create(principal=who, values={**slugged, "category": "rag"}, variant={"messages": messages})
    tool = rag_tool_create(
        principal=who,
        values={
            "name": "Handbook",
            "slug": slug,
            "header": "Ask the handbook",
            "sample_questions": ["How much leave?"],
        },
        variant={"retrieval_tool": search, "prompt": prompt},
    )
    if published:
        variant_publish(tool.variants.get(), actor=who.user)
    return tool


@pytest.fixture
def boss() -> Principal:
    workspace = WorkspaceFactory(name="North", slug="north")
    return principal_of(MembershipFactory(workspace=workspace, role=Role.ADMIN))


@pytest.fixture
def user(boss: Principal) -> Client:
    workspace = Workspace.objects.get(pk=boss.workspace_id)
    return signed_in(MembershipFactory(workspace=workspace, role=Role.USER).user)


def test_user_sees_and_opens_the_published_tools(boss, user):
    rag_tool(boss)

    home, page = text(user.get("/panel/")), text(user.get("/panel/rag-tools/handbook-qa/"))

    assert "/panel/rag-tools/handbook-qa/" in home
    assert "<h1>Ask the handbook</h1>" in page
    assert 'data-question="How much leave?"' in page
    assert 'data-url="/api/v1/rag-tools/handbook-qa/query"' in page


def test_user_gets_no_links_into_the_admin(boss, user):
    rag_tool(boss)

    page = text(user.get("/panel/rag-tools/handbook-qa/"))

    assert "/admin/" not in page


def test_operator_gets_links_into_the_admin(boss):
    rag_tool(boss)

    page = text(signed_in(boss.user).get("/panel/rag-tools/handbook-qa/"))

    assert "/admin/knowledge/document/00000000-0000-0000-0000-000000000000/change/" in page


def test_draft_is_not_on_the_panel_for_anybody(boss, user):
    rag_tool(boss, published=False)

    for client, told in ((user, "Nothing is shared with you yet"), (signed_in(boss.user), "Nothing to ask yet")):
        assert client.get("/panel/rag-tools/handbook-qa/").status_code == 404
        assert told in text(client.get("/panel/"))


def test_newer_draft_leaves_the_tool_on_the_panel_once(boss, user):
    tool = rag_tool(boss)
    variant_create_draft(tool, actor=boss.user)

    assert text(user.get("/panel/")).count('<li class="card">') == 1


def test_tool_of_another_workspace_does_not_exist(boss, user):
    stranger = principal_of(MembershipFactory(workspace=WorkspaceFactory(), role=Role.ADMIN))
    rag_tool(stranger, slug="their-qa")

    assert user.get("/panel/rag-tools/their-qa/").status_code == 404
    assert "their-qa" not in text(user.get("/panel/"))


def test_empty_panel_tells_operators_what_to_do(boss, user):
    assert "Go to the RAG tools" in text(signed_in(boss.user).get("/panel/"))
    assert "Go to the RAG tools" not in text(user.get("/panel/"))


def test_person_without_workspace_is_told_so():
    page = text(signed_in(UserFactory()).get("/panel/"))

    assert "You belong to no workspace yet" in page


def test_tool_page_without_workspace_is_404():
    assert signed_in(UserFactory()).get("/panel/rag-tools/x/").status_code == 404


@pytest.mark.parametrize("path", ["/panel/", "/panel/rag-tools/handbook-qa/"])
def test_nobody_enters_without_signing_in(path):
    response = Client().get(path)

    assert response.status_code == 302
    assert response["Location"] == f"/panel/login/?next={path}"


def test_switching_stays_on_the_panel(boss):
    there = MembershipFactory(user=boss.user, role=Role.USER, workspace=WorkspaceFactory(name="Zulu", slug="zulu"))
    rag_tool(boss)
    client = signed_in(boss.user)

    response = client.post("/panel/workspace/", {"workspace": "zulu"})

    assert response["Location"] == "/panel/"
    assert client.get("/panel/rag-tools/handbook-qa/").status_code == 404
    assert there.workspace.name in text(client.get("/panel/"))


def test_switching_goes_to_no_other_site(boss):
    data = {"workspace": "north", "next": "https://evil.example/"}

    assert signed_in(boss.user).post("/panel/workspace/", data)["Location"] == "/panel/"


@pytest.mark.parametrize(
    ("role", "target"),
    [(Role.USER, "/panel/"), (Role.VIEWER, "/admin/"), (Role.OPERATOR, "/admin/"), (Role.ADMIN, "/admin/")],
)
def test_signing_in_leads_to_the_place_of_the_role(role, target):
    MembershipFactory(user=UserFactory(email="ann@example.org"), role=role)
    client = Client()

    response = client.post("/panel/login/", {"username": "ANN@example.org", "password": "correct horse battery"})

    assert response["Location"] == "/"
    assert client.get("/")["Location"] == target


def test_signing_in_goes_on_to_the_page_that_was_asked_for():
    MembershipFactory(user=UserFactory(email="ann@example.org"), role=Role.VIEWER)

    response = Client().post(
        "/panel/login/?next=/admin/rag/ragtool/",
        {"username": "ann@example.org", "password": "correct horse battery", "next": "/admin/rag/ragtool/"},
    )

    assert response["Location"] == "/admin/rag/ragtool/"


def test_wrong_password_says_so_and_names_no_account():
    UserFactory(email="ann@example.org")
    wrong = [
        text(Client().post("/panel/login/", {"username": email, "password": "wrong"}))
        for email in ("ann@example.org", "nobody@example.org")
    ]

    assert all("This e-mail address and password do not go together." in page for page in wrong)


def test_inactive_person_cannot_sign_in():
    UserFactory(email="ann@example.org", is_active=False)

    page = text(Client().post("/panel/login/", {"username": "ann@example.org", "password": "correct horse battery"}))

    assert "do not go together" in page


def test_signing_out_ends_the_session(user):
    assert user.post("/panel/logout/")["Location"] == "/panel/login/"
    assert user.get("/panel/").status_code == 302


def test_names_are_escaped(boss, user):
    tool = rag_tool(boss)
    RagTool._unscoped.filter(pk=tool.pk).update(
        name="<script>alert(1)</script>", header="", sample_questions=['"><img src=x onerror=alert(1)>']
    )

    for path in ("/panel/", "/panel/rag-tools/handbook-qa/"):
        page = text(user.get(path))
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
