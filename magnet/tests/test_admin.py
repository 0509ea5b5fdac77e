"""The admin as a whole: what belongs to another workspace does not exist, in any page; roles decide what may change."""

import copy
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from unfold.admin import ModelAdmin as PlainModelAdmin

from accounts.models import ApiKey, Group
from core.access import Role
from core.admin import WorkspaceModelAdmin
from core.checks import admins_are_scoped
from core.models import WorkspaceScopedModel
from core.variants import Variant
from knowledge.models import Document, KnowledgeSource
from llm.models import Model, Provider
from magnet.navigation import sidebar
from magnet.tests.admin_world import World
from observability.budget_models import Budget
from observability.models import Job, Run, Schedule, Trace, UsageRecord
from prompts.models import PromptTemplate, PromptVariant
from rag.models import RagTool, RagVariant, RetrievalTool, RetrievalVariant

pytestmark = pytest.mark.django_db

LISTED = [
    Provider, Model, PromptTemplate, KnowledgeSource, Document, RetrievalTool, RagTool,
    Job, Run, Trace, UsageRecord, ApiKey, Budget, Group,
]  # fmt: skip
VARIANTS = [PromptVariant, RetrievalVariant, RagVariant]
# No workspace has one yet: test_admin_schedules.py shows that members see none.
OF_THE_PLATFORM = [Schedule]


def url(page: str, row: Any, *args: Any) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[row.pk, *args]) if page != "changelist" else reverse(name)


def text(response: Any) -> str:
    return response.content.decode()


def test_every_kind_of_row_is_tried_here():
    """A new ModelAdmin of workspace rows has to join the lists above."""
    registered = {model for model in admin.site._registry if issubclass(model, WorkspaceScopedModel)}
    assert registered == {*LISTED, *VARIANTS, *OF_THE_PLATFORM}


@pytest.mark.parametrize("model", LISTED)
def test_list_shows_own_rows_only(north, south, model):
    page = text(north.client(Role.ADMIN).get(url("changelist", north[model])))

    assert "north" in page
    assert "southern" not in page


@pytest.mark.parametrize("model", LISTED)
def test_search_finds_no_foreign_row(north, south, model):
    response = north.client(Role.ADMIN).get(url("changelist", north[model]), {"q": "southern"})

    assert response.context_data["cl"].result_count == 0


@pytest.mark.parametrize("model", [*LISTED, *VARIANTS])
@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_foreign_row_does_not_exist(north, south, model, page):
    client = north.client(Role.ADMIN)

    response = client.get(url(page, south[model]))

    assert response.status_code in (302, 403)
    assert response.headers.get("Location", "/admin/") == "/admin/"
    assert "southern" not in text(response)


@pytest.mark.parametrize("model", [Provider, Model, PromptTemplate, KnowledgeSource, Document, RetrievalTool, RagTool])
def test_action_does_not_reach_a_foreign_row(north, south, model):
    client = north.client(Role.ADMIN)
    data = {"action": "delete_selected", "_selected_action": str(south[model].pk), "post": "yes"}

    client.post(url("changelist", north[model]), data)

    assert model._unscoped.filter(pk=south[model].pk).exists()


@pytest.mark.parametrize(
    ("model", "page", "args"),
    [
        (RagTool, "ask", ()),
        (RetrievalTool, "search", ()),
        (RagTool, "variant_diff", (1, 1)),
        (Document, "file", ()),
    ],
)
def test_page_of_a_foreign_row_is_404(north, south, model, page, args):
    assert north.client(Role.ADMIN).get(url(page, south[model], *args)).status_code == 404


@pytest.mark.parametrize(
    ("model", "page", "args"),
    [
        (RagTool, "variant_new", ()),
        (PromptTemplate, "variant_publish", (1,)),
        (RetrievalTool, "variant_activate", (1,)),
        (Document, "retry", ()),
        (Job, "retry", ()),
        (Job, "cancel", ()),
    ],
)
def test_button_of_a_foreign_row_is_404(north, south, model, page, args):
    before = Job._unscoped.get(pk=south[Job].pk).status

    assert north.client(Role.ADMIN).post(url(page, south[model], *args)).status_code == 404

    assert Job._unscoped.get(pk=south[Job].pk).status == before
    assert south[RagTool].variants.count() == 1


def test_autocomplete_offers_no_foreign_row(north, south):
    response = north.client().get(
        "/admin/autocomplete/",
        {"app_label": "llm", "model_name": "model", "field_name": "provider", "term": "o"},
    )

    assert [one["text"] for one in response.json()["results"]] == ["north provider"]


def test_filter_offers_no_foreign_row(north, south):
    page = text(north.client().get(url("changelist", north[Document])))

    assert "north source" in page
    assert "southern source" not in page


@pytest.mark.parametrize("field", ["retrieval_tool", "prompt", "model"])
def test_submitted_foreign_choice_is_refused(north, south, field):
    own = {"retrieval_tool": north[RetrievalTool], "prompt": north[PromptTemplate], "model": _chat(north)}
    foreign = {"retrieval_tool": south[RetrievalTool], "prompt": south[PromptTemplate], "model": _chat(south)}
    data = {"name": "x", "slug": "x", **{name: row.pk for name, row in own.items()}, field: foreign[field].pk}

    response = north.client().post("/admin/rag/ragtool/add/", data)

    assert response.status_code == 200
    assert list(response.context_data["adminform"].form.errors) == [field]
    assert not RagTool._unscoped.filter(slug="x").exists()


def test_foreign_choice_in_a_draft_is_refused(north, south):
    client = north.client()
    client.post(url("variant_new", north[RagTool]))
    draft = north[RagTool].variants.get(status="draft")

    response = client.post(
        url("change", draft),
        {
            "retrieval_tool": south[RetrievalTool].pk,
            "prompt": north[PromptTemplate].pk,
            "model": _chat(north).pk,
            "observability_level": "metadata",
            "expected_version": draft.version,
        },
    )

    assert list(response.context_data["adminform"].form.errors) == ["retrieval_tool"]


def _chat(made: World) -> Model:
    return Model.objects.for_workspace(made.workspace.pk).get(kind="chat")


@pytest.mark.parametrize("model", LISTED)
def test_list_needs_few_queries(north, model, django_assert_max_num_queries):
    _copies(north[model], 15)
    client = north.client(Role.ADMIN)
    client.get("/admin/")

    with django_assert_max_num_queries(12):
        assert client.get(url("changelist", north[model])).status_code == 200


def _copies(row: Any, count: int) -> None:
    """More rows of the same kind: with a query for each, the list would need over a dozen."""
    row = copy.copy(row)
    for n in range(count):
        row.pk = uuid.uuid4()
        row._state.adding = True
        for name, value in {"slug": f"copy-{n}", "external_id": f"copy-{n}", "public_id": f"copy{n}"}.items():
            if hasattr(row, name):
                setattr(row, name, value)
        if hasattr(row, "is_default"):
            row.is_default = False
        row.save()


@pytest.mark.parametrize("model", [*LISTED, *VARIANTS])
def test_viewer_reads_and_changes_nothing(north, model):
    client = north.client(Role.VIEWER)
    if model is not ApiKey:  # one sees one's own keys only
        assert client.get(url("change", north[model])).status_code == 200

    before = model._unscoped.filter(pk=north[model].pk).values().get()
    response = client.post(url("change", north[model]), {"name": "changed", "note": "changed"})

    assert response.status_code in (200, 302, 403)
    assert model._unscoped.filter(pk=north[model].pk).values().get() == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_providers_are_for_admins(north, role):
    client = north.client(role)

    assert client.get("/admin/llm/provider/").status_code == 200
    assert client.get("/admin/llm/provider/add/").status_code == 403


def test_viewer_sees_no_buttons_that_change(north):
    page = text(north.client(Role.VIEWER).get(url("change", north[RagTool])))

    assert "Served" in page
    assert "Start a new draft" not in page
    assert "Copy to new draft" not in page


def test_unscoped_admin_is_refused_at_start(monkeypatch):
    class Careless(PlainModelAdmin):
        pass

    monkeypatch.setitem(admin.site._registry, Document, Careless(Document, admin.site))

    assert [error.id for error in admins_are_scoped()] == ["core.E001"]


def test_unscoped_filter_is_refused_at_start(monkeypatch):
    class Careless(WorkspaceModelAdmin):
        list_filter = ("status", "source")

    monkeypatch.setitem(admin.site._registry, Document, Careless(Document, admin.site))

    assert [error.id for error in admins_are_scoped()] == ["core.E002"]


def test_our_own_admins_pass_the_check():
    assert admins_are_scoped() == []


def test_overview_shows_the_workspace_and_the_next_steps(north, south):
    page = text(north.client().get("/admin/"))

    assert "north qa" in page
    assert "southern" not in page
    assert "Connect a provider for free wording (optional)" in page


def test_overview_has_no_steps_for_viewers(north):
    assert "First steps" not in text(north.client(Role.VIEWER).get("/admin/"))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
def test_sidebar_leads_only_where_one_may_go(north, role):
    client = north.client(role)
    links = set(re.findall(r'href="(/admin/[a-z_/]+/)"', text(client.get("/admin/"))))

    answers = {link: client.get(link).status_code for link in links}

    assert len(links) > 10
    assert {link: status for link, status in answers.items() if status >= 400} == {}


def test_admin_pages_carry_the_policy_of_the_adr(north):
    policy = north.client().get("/admin/")["Content-Security-Policy"]

    assert "script-src 'self' 'unsafe-eval';" in f"{policy};"
    assert "style-src 'self' 'unsafe-inline'" in policy
    for part in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert part in policy


@pytest.mark.parametrize("path", ["/panel/login/", "/panel/", "/nothing-here/"])
def test_other_pages_carry_the_strict_policy(path):
    policy = Client().get(path)["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "object-src 'none'" in policy


def test_answers_of_the_api_are_never_pages(north):
    assert "default-src 'none'" in north.client().get("/api/v1/rag-tools/")["Content-Security-Policy"]


def test_no_template_holds_an_inline_script_or_handler():
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|\son[a-z]+\s*=\s*[\"']|javascript:", re.IGNORECASE)
    found = {
        str(path.relative_to(settings.BASE_DIR)): inline.findall(path.read_text())
        for path in Path(settings.BASE_DIR, "templates").rglob("*.html")
        if inline.search(path.read_text())
    }
    assert found == {}


def test_variants_have_no_list_of_their_own(north):
    response = north.client().get(reverse("admin:rag_ragvariant_changelist"))

    assert response["Location"] == reverse("admin:rag_ragtool_changelist")
    assert issubclass(RagVariant, Variant)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/admin/observability/usagerecord/report/", "Usage"),
        ("/admin/observability/usagerecord/", "Model calls"),
        ("/admin/llm/model/add/", "Models"),
        ("/admin/", None),
    ],
)
def test_sidebar_marks_where_one_is_and_nothing_else(north, rf, path, title):
    request = rf.get(path)
    request.user, request.session = north.principal.user, {}

    items = [item for section in sidebar(request) for item in section["items"]]

    assert [str(item["title"]) for item in items if item["active"]] == ([title] if title else [])


def test_dates_are_written_in_one_way(north):
    page = north.client().get("/admin/accounts/group/").content.decode()

    assert re.search(r"\b\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d UTC", page)
    assert "a.m." not in page
    assert "p.m." not in page
