"""The bases of the admin, at the edges that no page of ours reaches by itself."""

import re

import pytest
from django.contrib import admin
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import RequestFactory

from accounts.models import User, Workspace
from accounts.services import user_create, user_update
from accounts.tests.factories import UserFactory
from core.access import Role
from core.admin import WorkspaceModelAdmin, relation_of
from core.exceptions import PermissionRefused
from knowledge.models import Chunk, Document, KnowledgeSource
from llm.models import Model, Provider
from llm.price_services import price_add
from magnet.tests.admin_world import signed_in, url
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool


def request_of(user):
    """A request as the admin's pages get it."""
    request = RequestFactory().get("/admin/")
    request.user = user
    request.session = {}
    return request


def test_superuser_without_membership_reads_no_workspace(north):
    root = User.objects.create_superuser("root@example.org", "correct horse battery")

    assert signed_in(root).get(url("change", north[Document])).status_code == 403


def test_rows_of_an_unlisted_kind_are_scoped_too(north, south):
    documents = admin.site._registry[Document]
    request = request_of(north.principal.user)

    found = documents.rows_of(Chunk, request)

    assert {chunk.workspace_id for chunk in found} == {north.workspace.pk}


def test_rows_of_the_shared_kinds_are_those_of_the_workspace(north, south):
    documents = admin.site._registry[Document]
    request = request_of(north.principal.user)

    assert list(documents.rows_of(Workspace, request)) == [north.workspace]
    assert list(documents.rows_of(User, request)) == [north.principal.user]


def test_relation_to_what_belongs_to_no_workspace_offers_nothing(north):
    people = admin.site._registry[User]

    field = people.formfield_for_manytomany(User._meta.get_field("groups"), request_of(north.principal.user))

    assert list(field.queryset) == []


@pytest.mark.parametrize("method", ["create_object", "update_object", "remove_object"])
def test_admin_without_a_service_writes_nothing(north, method):
    bare = WorkspaceModelAdmin(Document, admin.site)
    arguments = {"create_object": ({},), "update_object": ({}, 1), "remove_object": ()}[method]

    with pytest.raises(PermissionRefused):
        getattr(bare, method)(north.principal, north[Document], *arguments)


def test_page_that_one_may_not_view_is_refused(north, monkeypatch):
    documents = admin.site._registry[Document]
    monkeypatch.setattr(type(documents), "view_permission", None)

    with pytest.raises(PermissionDenied):
        documents.change_view(request_of(north.principal.user), str(north[Document].pk))


def test_name_that_is_no_field_is_no_relation():
    assert relation_of(Document, "nonsense") is None
    assert relation_of(Document, "source") is KnowledgeSource
    assert relation_of(Document, "title") is None


def test_refusal_without_a_field_stands_above_the_form(north):
    request = request_of(north.principal.user)
    request._magnet_refusal = ValidationError("Not now.")
    form = admin.site._registry[PromptTemplate].get_form(request)(data={})

    assert not form.is_valid()
    assert form.non_field_errors() == ["Not now."]


def test_viewer_cannot_press_the_buttons_of_variants(north):
    client = north.client(Role.VIEWER)

    assert client.post(url("variant_new", north[RagTool])).status_code == 403
    assert client.post(url("variant_activate", north[RagTool], 1)).status_code == 403
    assert north[RagTool].variants.count() == 1


def test_compare_names_choices_and_sources(north):
    client, tool = north.client(), north[RetrievalTool]
    client.post(url("variant_new", tool))
    draft = tool.variants.get(status="draft")
    draft.sources.clear()
    tool.variants.filter(pk=draft.pk).update(mode="lexical")

    page = client.get(url("variant_diff", tool, 1, 2)).content.decode()

    assert "Lexical: words (BM25) alone" in page
    assert "north source" in page
    assert "<pre>—</pre>" in page


def test_default_provider_row_says_that_it_needs_no_key(north):
    page = north.client().get("/admin/llm/provider/").content.decode()

    assert "needs none" in page


def test_prompt_is_renamed_and_deleted(north):
    client = north.client()
    data = {"name": "p", "slug": "p", "category": "generic", "messages-0-role": "user", "messages-0-content": "Hi"}
    client.post("/admin/prompts/prompttemplate/add/", data)
    prompt = PromptTemplate.objects.for_workspace(north.workspace.pk).get(slug="p")

    client.post(url("change", prompt), {**data, "name": "Q", "expected_version": 1})
    prompt.refresh_from_db()
    client.post(url("delete", prompt), {"post": "yes"})

    assert prompt.name == "Q"
    assert not PromptTemplate.objects.for_workspace(north.workspace.pk).filter(pk=prompt.pk).exists()


def test_source_in_use_is_not_deleted_and_another_is(north):
    client = north.client()
    source = north[KnowledgeSource]
    data = {"name": "S", "slug": "s", "embedding_model": source.embedding_model_id, "max_tokens": 300}
    client.post("/admin/knowledge/knowledgesource/add/", {**data, "overlap_tokens": 10, "filter_fields": "[]"})
    other = KnowledgeSource.objects.for_workspace(north.workspace.pk).get(slug="s")

    client.post(url("delete", source), {"post": "yes"})
    client.post(url("delete", other), {"post": "yes"})

    assert list(KnowledgeSource.objects.for_workspace(north.workspace.pk)) == [source]


def test_superuser_gives_a_new_password(db):
    root = User.objects.create_superuser("root@example.org", "correct horse battery")
    ann = UserFactory(email="ann@example.org")

    signed_in(root).post(
        url("change", ann), {"email": ann.email, "new_password": "another long secret", "is_active": "on"}
    )

    ann.refresh_from_db()
    assert ann.check_password("another long secret")


def test_accounts_are_for_superusers_in_the_services_too(db):
    ann = UserFactory()

    with pytest.raises(PermissionRefused):
        user_create(actor=ann, email="x@example.org", name="", password="a long enough secret")
    with pytest.raises(PermissionRefused):
        user_update(ann, actor=ann, values={"is_superuser": True})

    ann.refresh_from_db()
    assert not ann.is_superuser
    assert not User.objects.filter(email="x@example.org").exists()


def test_refused_button_says_why_on_the_list(north, rf):
    request = request_of(north.principal.user)
    request._messages = FallbackStorage(request)

    def refuse():
        raise ValidationError(["One.", "Two."])

    response = admin.site._registry[Document].refusable(request, refuse)

    assert response["Location"] == "/admin/knowledge/document/"
    assert [str(one) for one in request._messages] == ["One. Two."]


def test_model_and_its_provider_are_changed_and_deleted(north):
    boss = north.client(Role.ADMIN)
    boss.post("/admin/llm/provider/add/", {"name": "V", "slug": "v", "type": "openai", "is_active": "on"})
    provider = Provider.objects.for_workspace(north.workspace.pk).get(slug="v")
    data = {
        "name": "M", "slug": "m", "provider": provider.pk, "kind": "chat", "identifier": "m", "is_active": "on",
        "max_input_tokens": 4000, "timeout_seconds": 30, "prices-TOTAL_FORMS": 0, "prices-INITIAL_FORMS": 0,
    }  # fmt: skip
    boss.post("/admin/llm/model/add/", data)
    model = Model.objects.for_workspace(north.workspace.pk).get(slug="m")

    boss.post(url("change", model), {**data, "max_input_tokens": 9000, "expected_version": 1})
    model.refresh_from_db()
    listed = boss.get("/admin/llm/provider/").content.decode()
    for row in (model, provider):
        boss.post(url("delete", row), {"post": "yes"})

    assert model.max_input_tokens == 9000
    assert "none" in listed
    assert not Model.objects.for_workspace(north.workspace.pk).filter(slug="m").exists()
    assert not Provider.objects.for_workspace(north.workspace.pk).filter(slug="v").exists()


def test_prices_are_shown_without_zeros_that_say_nothing(north):
    for figures in ({"input": "2.5", "output": "10"}, {"input": "0.0375", "cached_input": "0.00375", "output": "0.15"}):
        price_add(north[Model], principal=north.principal, values={**figures, "currency": "USD"})

    page = north.client().get(url("change", north[Model])).content.decode()

    shown = set(re.findall(r">\s*([\d.]+)\s*<", page))
    assert {"2.50", "10.00", "0.0375", "0.00375", "0.15"} <= shown
