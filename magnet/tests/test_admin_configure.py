"""Configuring in the admin: variants from draft to rollback, sources and documents, providers and their keys."""

import re

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.tests.factories import MembershipFactory
from core.access import Role
from core.admin_display import EMPTY
from knowledge import storage
from knowledge.models import Document, KnowledgeSource
from llm.models import Model, Provider
from magnet.tests.admin_world import World, signed_in, url
from observability.models import Job
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool


def text(response) -> str:
    return response.content.decode()


def draft_of(client, tool):
    client.post(url("variant_new", tool))
    return tool.variants.get(status="draft")


def rag_input(north: World, **changes):
    chat = Model.objects.for_workspace(north.workspace.pk).get(kind="chat")
    given = {"retrieval_tool": north[RetrievalTool].pk, "prompt": north[PromptTemplate].pk, "model": chat.pk}
    return {**given, "observability_level": "metadata", **changes}


def test_new_rag_tool_begins_with_a_draft(north):
    data = rag_input(north, name="Fresh", slug="fresh", sample_questions="One?\n\n Two? ", header="Ask")

    response = north.client().post("/admin/rag/ragtool/add/", data)

    tool = RagTool.objects.for_workspace(north.workspace.pk).get(slug="fresh")
    assert response.status_code == 302
    assert tool.sample_questions == ["One?", "Two?"]
    assert [(one.number, one.status) for one in tool.variants.all()] == [(1, "draft")]


def test_taken_slug_is_explained_and_the_input_kept(north):
    data = rag_input(north, name="Again", slug="north-qa")

    response = north.client().post("/admin/rag/ragtool/add/", data)

    assert response.status_code == 200
    assert 'value="Again"' in text(response)
    assert response.context_data["adminform"].form.errors


@pytest.mark.parametrize(
    ("questions", "problem"),
    [("x" * 301, "A question may have 300 characters."), ("\n".join("q" * 13), "At most 12, one a line.")],
)
def test_sample_questions_have_limits(north, questions, problem):
    data = rag_input(north, name="n", slug="n", sample_questions=questions)

    assert problem in text(north.client().post("/admin/rag/ragtool/add/", data))


def test_new_retrieval_tool_searches_the_chosen_sources(north):
    data = {"name": "Find", "slug": "find", "sources": [north[KnowledgeSource].pk]}

    north.client().post("/admin/rag/retrievaltool/add/", data)

    tool = RetrievalTool.objects.for_workspace(north.workspace.pk).get(slug="find")
    assert list(tool.variants.get().sources.all()) == [north[KnowledgeSource]]


def test_draft_is_edited_published_and_rolled_back(north):
    client, tool = north.client(), north[RagTool]
    draft = draft_of(client, tool)

    client.post(url("change", draft), rag_input(north, note="shorter", expected_version=draft.version))
    client.post(url("variant_publish", tool, 2))
    served = [(one.number, one.is_active, one.note) for one in tool.variants.all()]
    client.post(url("variant_activate", tool, 1))

    assert served == [(2, True, "shorter"), (1, False, "")]
    assert tool.variants.get(is_active=True).number == 1


def test_save_and_publish_does_both(north):
    client, tool = north.client(), north[RetrievalTool]
    draft = draft_of(client, tool)
    data = {
        "sources": [north[KnowledgeSource].pk], "mode": "dense", "top_k": 7, "candidates": 50, "dense_weight": 0.4,
        "similarity_threshold": 0.1, "rerank_top_n": 30, "neighbours": 1, "observability_level": "metadata",
        "expected_version": draft.version, "rag_retrievalvariant_save_and_publish": "1",
    }  # fmt: skip

    response = client.post(url("change", draft), data)

    draft.refresh_from_db()
    assert response["Location"] == url("change", tool)
    assert (draft.status, draft.is_active, draft.top_k, draft.mode) == ("published", True, 7, "dense")
    assert list(draft.sources.all()) == [north[KnowledgeSource]]


def test_second_draft_is_refused_in_words(north):
    client, tool = north.client(), north[RagTool]
    draft_of(client, tool)

    response = client.post(url("variant_new", tool), {"copy_of": "1"}, follow=True)

    assert "Variant 2 is a draft already." in text(response)
    assert tool.variants.count() == 2


def test_published_variant_cannot_be_edited(north):
    client, variant = north.client(), north[RagTool].variants.get()

    response = client.post(url("change", variant), rag_input(north, note="sneaky", expected_version=1))

    variant.refresh_from_db()
    assert response.status_code == 403
    assert variant.note == ""
    assert "It cannot change" in text(client.get(url("change", variant)))


def test_stale_draft_is_a_conflict_that_keeps_the_input(north):
    client, tool = north.client(), north[RagTool]
    draft = draft_of(client, tool)
    client.post(url("change", draft), rag_input(north, note="theirs", expected_version=draft.version))

    response = client.post(url("change", draft), rag_input(north, note="mine", expected_version=draft.version))

    draft.refresh_from_db()
    assert response.status_code == 409
    assert 'value="mine"' in text(response)
    assert "Note is now: theirs" in text(response)
    assert draft.note == "theirs"


def test_stale_choice_of_sources_names_the_stored_ones(north):
    client, tool = north.client(), north[RetrievalTool]
    draft = draft_of(client, tool)
    data = {
        "sources": [north[KnowledgeSource].pk], "mode": "hybrid", "top_k": 5, "candidates": 100, "dense_weight": 0.5,
        "similarity_threshold": 0, "rerank_top_n": 30, "neighbours": 0,
        "observability_level": "metadata",
    }  # fmt: skip
    client.post(url("change", draft), {**data, "expected_version": draft.version})
    draft.sources.clear()

    response = client.post(url("change", draft), {**data, "expected_version": draft.version})

    assert response.status_code == 409
    assert "(empty)" in text(response)


def test_compare_shows_both_values(north):
    client, tool = north.client(), north[PromptTemplate]
    draft = draft_of(client, tool)
    messages = {"messages-0-role": "system", "messages-0-content": "Be brief.", "messages-1-role": "user"}
    messages |= {"response_format": "text", "observability_level": "full"}
    client.post(
        url("change", draft),
        {**messages, "messages-1-content": "{{ question }}", "temperature": "0.2", "expected_version": draft.version},
    )

    page = text(client.get(url("variant_diff", tool, 1, 2)))

    marked = " ".join(re.findall("<ins>(.*?)</ins>", page, re.DOTALL))
    assert "brief" in marked
    assert "role: system\ncontent: Be brief.\n\nrole: user\ncontent: {{ question }}" in re.sub("</?ins>", "", page)
    assert "Temperature" in page
    assert "0.2" in page


def test_compare_shows_an_object_beside_nothing(north):
    client, tool = north.client(), north[PromptTemplate]
    draft = draft_of(client, tool)
    type(draft)._unscoped.filter(pk=draft.pk).update(output_schema={"type": "object"})

    page = re.sub("</?(ins|del)>", "", text(client.get(url("variant_diff", tool, 1, 2))))

    assert '<th scope="row">JSON schema</th>' in page
    assert f"<pre>{EMPTY}</pre>" in page
    assert "{\n  &quot;type&quot;: &quot;object&quot;\n}" in page


def test_compare_of_equals_says_so(north):
    client, tool = north.client(), north[RetrievalTool]
    draft_of(client, tool)

    assert "no setting differs" in text(client.get(url("variant_diff", tool, 1, 2)))
    assert client.get(url("variant_diff", tool, 1, 9)).status_code == 404


def test_empty_prompt_message_is_left_out(north):
    client, tool = north.client(), north[PromptTemplate]
    draft = draft_of(client, tool)

    client.post(
        url("change", draft),
        {
            "messages-0-role": "user",
            "messages-0-content": "{{ question }}\r\nNow.",
            "messages-1-role": "system",
            "messages-1-content": "  ",
            "response_format": "text",
            "observability_level": "none",
            "expected_version": draft.version,
        },
    )

    draft.refresh_from_db()
    assert draft.messages == [{"role": "user", "content": "{{ question }}\nNow."}]


def test_variables_examples_and_schema_of_a_prompt_are_edited(north):
    client, tool = north.client(), north[PromptTemplate]
    draft = draft_of(client, tool)
    form = {
        "messages-0-role": "user", "messages-0-content": "{{ days }}",
        "variables-0-name": "days", "variables-0-type": "number", "variables-0-default": "28",
        "variables-0-sample": "30",
        "variables-1-name": "", "variables-1-type": "text", "variables-1-required": "on",
        "examples-0-input": "1", "examples-0-output": "{}", "examples-1-input": "", "examples-1-output": "",
        "response_format": "json_schema", "output_schema": '{"type": "object"}', "observability_level": "none",
    }  # fmt: skip

    wrong = client.post(url("change", draft), {**form, "variables-0-default": "x", "expected_version": draft.version})
    client.post(url("change", draft), {**form, "expected_version": draft.version})

    assert "the default of &#x27;days&#x27; is no number" in text(wrong)
    draft.refresh_from_db()
    assert draft.variables == [
        {"name": "days", "type": "number", "required": False, "default": 28, "sample": 30, "description": ""}
    ]
    assert draft.observability_level == "none"
    assert draft.examples == [{"input": "1", "output": "{}"}]
    assert (draft.response_format, draft.output_schema) == ("json_schema", {"type": "object"})
    page = text(client.get(url("change", draft)))
    assert 'name="variables-0-default" value="28"' in page
    client.post(
        url("change", draft),
        {**form, "response_format": "text", "output_schema": "", "expected_version": draft.version},
    )
    draft.refresh_from_db()
    assert (draft.response_format, draft.output_schema) == ("text", {})


def test_the_page_to_run_a_prompt_offers_what_this_person_may_run(north):
    operator, viewer, tool = north.client(), north.client(Role.VIEWER), north[PromptTemplate]
    draft_of(operator, tool)
    address = f"/admin/prompts/prompttemplate/{tool.pk}/run/"

    mine, theirs = operator.get(address).context["try_variants"], viewer.get(address).context["try_variants"]

    assert [one.number for one in mine] == [1, 2]
    assert [one.number for one in theirs] == [1]
    assert "try_variants" not in (operator.get("/admin/prompts/prompttemplate/try/").context or {})


def test_a_draft_leads_to_the_page_that_runs_it(north):
    client, tool = north.client(), north[PromptTemplate]
    draft = draft_of(client, tool)
    address = f"/admin/prompts/prompttemplate/{tool.pk}/run/?variant={draft.number}"

    assert f'href="{address}"' in text(client.get(url("change", draft)))
    assert f'<option value="{draft.number}" selected>' in text(client.get(address))
    assert '<option value="1" selected>' in text(client.get(address.replace("variant=2", "variant=9")))


@pytest.mark.parametrize(("used", "user"), [(PromptTemplate, RagTool), (RetrievalTool, RagTool), (Provider, Model)])
def test_the_page_of_what_is_in_use_names_its_users(north, used, user):
    page = text(north.client().get(url("change", north[used])))

    assert "Used by" in page
    assert f'<a href="{url("change", north[user])}">{north[user].name}</a>' in page


def test_the_page_of_what_nobody_uses_names_nobody(north):
    assert "Used by" not in text(north.client().get(url("change", north[RagTool])))


def test_prompt_without_messages_is_refused(north):
    data = {"name": "p", "slug": "p", "category": "generic", "messages-0-role": "user", "messages-0-content": ""}

    response = north.client().post("/admin/prompts/prompttemplate/add/", data)

    assert list(response.context_data["adminform"].form.errors) == ["messages"]


def test_new_prompt_begins_with_its_messages(north):
    data = {"name": "p", "slug": "p", "category": "generic", "messages-0-role": "user", "messages-0-content": "Hi"}

    north.client().post("/admin/prompts/prompttemplate/add/", data)

    prompt = PromptTemplate.objects.for_workspace(north.workspace.pk).get(slug="p")
    assert prompt.variants.get().messages == [{"role": "user", "content": "Hi"}]


def test_texts_of_a_published_prompt_are_shown_escaped(north):
    client, tool = north.client(), north[PromptTemplate]
    tool.variants.update(messages=[{"role": "user", "content": "<script>alert(1)</script>"}])

    page = text(client.get(url("change", tool.variants.get())))

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


def test_tool_in_use_is_not_deleted(north):
    client = north.client()

    client.post(url("delete", north[RetrievalTool]), {"post": "yes"})

    assert RetrievalTool.objects.for_workspace(north.workspace.pk).filter(pk=north[RetrievalTool].pk).exists()


def test_rag_tool_is_deleted_with_its_variants(north):
    response = north.client().post(url("delete", north[RagTool]), {"post": "yes"})

    assert response.status_code == 302
    assert not RagTool.objects.for_workspace(north.workspace.pk).filter(pk=north[RagTool].pk).exists()


def test_ask_page_offers_drafts_to_operators_only(north):
    draft_of(north.client(), north[RagTool])

    operator = text(north.client().get(url("ask", north[RagTool])))
    viewer = text(north.client(Role.VIEWER).get(url("ask", north[RagTool])))

    assert "draft" in operator.split("try-variant", 1)[1]
    assert '<option value="2"' not in viewer
    assert "data-extractive" in operator


def test_ask_page_without_a_published_variant_says_so(north):
    north[RagTool].variants.update(is_active=False, status="draft")

    assert "Nothing is published yet" in text(north.client(Role.VIEWER).get(url("ask", north[RagTool])))


def test_one_tool_is_tried_at_once_and_several_are_a_choice(north):
    client = north.client()
    assert client.get("/admin/rag/ragtool/try/")["Location"] == url("ask", north[RagTool])
    client.post("/admin/rag/ragtool/add/", rag_input(north, name="Second", slug="second"))

    page = text(client.get("/admin/rag/ragtool/try/"))

    assert "Second" in page
    assert url("ask", north[RagTool]) in page


def test_provider_key_is_written_and_never_read(north):
    boss = north.client(Role.ADMIN)
    data = {"name": "Vendor", "slug": "vendor", "type": "openai", "is_active": "on"}
    boss.post("/admin/llm/provider/add/", {**data, "api_key": "sk-a-very-secret-key-1234"})
    provider = Provider.objects.for_workspace(north.workspace.pk).get(slug="vendor")
    assert provider.api_key.reveal() == "sk-a-very-secret-key-1234"

    page = text(boss.get(url("change", provider)))
    boss.post(url("change", provider), {**data, "name": "Renamed", "api_key": "", "expected_version": 1})

    provider.refresh_from_db()
    assert "very-secret" not in page
    assert "••••1234" in page
    assert (provider.name, provider.api_key.reveal()) == ("Renamed", "sk-a-very-secret-key-1234")


def test_another_base_url_clears_the_key(north):
    boss = north.client(Role.ADMIN)
    data = {"name": "Vendor", "slug": "vendor", "type": "openai", "is_active": "on"}
    boss.post("/admin/llm/provider/add/", {**data, "api_key": "sk-a-very-secret-key-1234"})
    provider = Provider.objects.for_workspace(north.workspace.pk).get(slug="vendor")

    response = boss.post(
        url("change", provider), {**data, "base_url": "https://llm.example.org/v1", "expected_version": 1}
    )

    provider.refresh_from_db()
    assert response.status_code == 302
    assert provider.base_url == "https://llm.example.org/v1"
    assert not provider.api_key


def test_default_model_is_one(north):
    chat = Model.objects.for_workspace(north.workspace.pk).get(kind="chat")
    data = {
        "name": "Other", "slug": "other", "provider": north[Provider].pk, "kind": "chat", "identifier": "o",
        "is_default": "on", "is_active": "on", "max_input_tokens": 4000, "timeout_seconds": 30,
    }  # fmt: skip

    north.client().post("/admin/llm/model/add/", data)

    chat.refresh_from_db()
    assert not chat.is_default
    assert Model.objects.for_workspace(north.workspace.pk).get(slug="other").is_default


def test_new_source_takes_its_passage_size(north):
    embedding = Model.objects.for_workspace(north.workspace.pk).get(kind="embedding")
    data = {"name": "S", "slug": "s", "embedding_model": embedding.pk, "max_tokens": 300, "overlap_tokens": 10}

    north.client().post("/admin/knowledge/knowledgesource/add/", {**data, "filter_fields": "[]"})

    source = KnowledgeSource.objects.for_workspace(north.workspace.pk).get(slug="s")
    assert (source.chunking["max_tokens"], source.chunking["overlap_tokens"]) == (300, 10)


def test_new_forms_come_filled_with_what_there_is(north):
    client = north.client()

    source = client.get("/admin/knowledge/knowledgesource/add/").context_data["adminform"].form
    tool = client.get("/admin/rag/ragtool/add/").context_data["adminform"].form

    assert source.initial["embedding_model"].kind == "embedding"
    assert tool.initial["retrieval_tool"] == north[RetrievalTool]
    assert tool.initial["prompt"] == north[PromptTemplate]
    assert tool.initial["model"].kind == "chat"


def test_passage_size_is_fixed_once_there_are_documents(north):
    source = north[KnowledgeSource]
    data = {
        "name": source.name, "slug": source.slug, "embedding_model": source.embedding_model_id, "max_tokens": 500,
        "overlap_tokens": 20, "filter_fields": "[]", "expected_version": source.version,
    }  # fmt: skip

    refused = north.client().post(url("change", source), data)
    renamed = north.client().post(url("change", source), {**data, "max_tokens": 200, "name": "Renamed"})

    source = KnowledgeSource.objects.for_workspace(north.workspace.pk).get(pk=source.pk)
    assert "cannot change while the source holds documents" in text(refused)
    assert renamed.status_code == 302
    assert (source.name, source.chunking["max_tokens"]) == ("Renamed", 200)


def test_source_page_has_a_place_to_drop_files_for_operators(north):
    source = north[KnowledgeSource]

    operator, viewer = (
        text(north.client().get(url("change", source))),
        text(north.client(Role.VIEWER).get(url("change", source))),
    )

    assert f'data-upload="/api/v1/knowledge-sources/{source.pk}/documents/"' in operator
    assert "data-upload" not in viewer
    assert "north leave" in viewer


def test_document_page_shows_text_and_passages(north):
    page = text(north.client(Role.VIEWER).get(url("change", north[Document])))

    assert '<span id="p0" class="is-even">Annual leave\n\nEverybody has 28 days of leave.</span>' in page
    assert '<span id="p1" class="is-odd">Up to 5 days carry over.</span>' in page


def test_failed_document_says_why_and_is_retried(north):
    document = north[Document]
    Document._unscoped.filter(pk=document.pk).update(status="failed", reason="It is encrypted.", reason_code="locked")
    client = north.client()
    assert "It is encrypted." in text(client.get(url("change", document)))
    assert "It is encrypted." in text(client.get(url("change", north[KnowledgeSource])))

    client.post(url("retry", document))

    assert Document._unscoped.get(pk=document.pk).status == "pending"
    assert 'data-live="on"' in text(client.get(url("changelist", document)))


def test_viewer_cannot_retry_or_delete_documents(north):
    Document._unscoped.filter(pk=north[Document].pk).update(status="failed")
    client = north.client(Role.VIEWER)

    assert client.post(url("retry", north[Document])).status_code == 403
    assert client.get(url("delete", north[Document])).status_code == 403
    assert Document._unscoped.get(pk=north[Document].pk).status == "failed"


def test_chosen_documents_are_retried_together(north):
    Document._unscoped.filter(pk=north[Document].pk).update(status="failed")
    data = {"action": "retry_chosen", "_selected_action": [north[Document].pk]}

    page = text(north.client().post(url("changelist", north[Document]), data, follow=True))

    assert "Queued again: 1" in page
    assert Document._unscoped.get(pk=north[Document].pk).status == "pending"


def test_retry_of_a_ready_document_is_refused_in_words(north):
    page = text(north.client().post(url("retry", north[Document]), follow=True))

    assert "only a failed one can be retried" in page


def test_file_is_a_download_and_nothing_else(north, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "STORAGE_DIR", tmp_path)
    stored = storage.store(iter([b"<script>alert(1)</script>"]))
    Document._unscoped.filter(pk=north[Document].pk).update(storage_key=stored.key, filename="x.html")

    response = north.client(Role.VIEWER).get(url("file", north[Document]))

    assert b"".join(response.streaming_content) == b"<script>alert(1)</script>"
    assert response["Content-Disposition"] == 'attachment; filename="x.html"'
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"].startswith("sandbox")


def test_document_without_its_file_is_404(north):
    assert north.client().get(url("file", north[Document])).status_code == 404


def test_document_is_deleted(north):
    north.client().post(url("delete", north[Document]), {"post": "yes"})

    assert not Document._unscoped.filter(pk=north[Document].pk).exists()


def test_last_sign_of_life_shows_while_a_job_runs(north):
    Job._unscoped.filter(pk=north[Job].pk).update(status="running", heartbeat_at=timezone.now(), reason="")

    page = text(signed_in(north.principal.user).get(url("change", north[Job])))

    assert "Last sign of life" in page
    assert 'data-live="on"' in page


def test_stale_sharing_names_with_whom_it_is_shared(north):
    client, tool = north.client(), north[RagTool]
    first, second = (MembershipFactory(workspace=north.workspace, role=Role.USER) for _ in range(2))
    form = {"name": tool.name, "slug": tool.slug, "expected_version": tool.version}
    client.post(url("change", tool), {**form, "shared_with_members": [first.pk]})

    response = client.post(url("change", tool), {**form, "shared_with_members": [second.pk]})

    assert response.status_code == 409
    assert f"Members is now: {first}" in text(response)
    assert [share.member for share in tool.shares.all()] == [first]
