"""Sources, documents and passages over the API."""

import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from knowledge.choices import DocumentStatus
from knowledge.ingesting import document_ingest
from knowledge.models import Document, KnowledgeSource
from knowledge.tests.factories import DocumentFactory, SourceFactory
from llm.tests.factories import LocalModelFactory, ModelFactory, ProviderFactory
from observability.models import Job

pytestmark = pytest.mark.django_db

SOURCES = "/api/v1/knowledge-sources/"
DOCUMENTS = "/api/v1/documents/"


@pytest.fixture
def api(client_of, membership):
    """A client of the operator."""
    return client_of(membership)


@pytest.fixture
def source(source_with):
    return source_with(slug="rules", name="Rules")


def of(source: KnowledgeSource) -> str:
    return f"{SOURCES}{source.slug}/documents/"


def file(content=b"Thirty days of leave.", name="leave.txt") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def post_file(api, source, **values):
    return api.post(of(source), {"file": file(), **values}, format="multipart")


class TestSources:
    def test_a_new_source_takes_the_default_model(self, api, membership):
        provider = ProviderFactory(workspace=membership.workspace)
        model = LocalModelFactory(provider=provider, is_default=True, slug="small")

        answer = api.post(SOURCES, {"name": "Rules", "slug": "rules"})

        assert answer.status_code == 201, answer.json()
        body = answer.json()
        assert body["embedding_model"] == model.slug or body["embedding_model"] == str(model.pk)
        assert body["chunking"] == {"chunker": "structure", "max_tokens": 200, "overlap_tokens": 20}
        assert body["documents"] == {"pending": 0, "processing": 0, "ready": 0, "failed": 0}
        assert answer["ETag"] == '"1"'

    @pytest.mark.parametrize(
        "values,pointer",
        [
            ({"name": "", "slug": "rules"}, "/name"),
            ({"name": "R", "slug": "no slug"}, "/slug"),
            ({"name": "R", "slug": "rules", "chunking": {"max_tokens": 5}}, "/chunking"),
            ({"name": "R", "slug": "rules", "chunking": {"size": 5}}, "/chunking"),
            ({"name": "R", "slug": "rules", "filter_fields": [{"name": "Not valid"}]}, "/filter_fields"),
            ({"name": "R", "slug": "rules", "embedding_model": "missing"}, "/embedding_model"),
        ],
    )
    def test_wrong_settings_are_refused(self, api, membership, values, pointer):
        LocalModelFactory(provider=ProviderFactory(workspace=membership.workspace), is_default=True)

        answer = api.post(SOURCES, values)

        assert answer.status_code == 400
        assert pointer in [
            error["pointer"].rsplit("/max_tokens")[0][: len(pointer)] for error in answer.json()["errors"]
        ]
        assert not KnowledgeSource._unscoped.exists()

    def test_a_chat_model_cannot_embed(self, api, membership):
        ModelFactory(provider=ProviderFactory(workspace=membership.workspace), slug="chatty")

        answer = api.post(SOURCES, {"name": "R", "slug": "rules", "embedding_model": "chatty"})

        assert answer.status_code == 400
        assert "no embedding model" in answer.json()["detail"]

    def test_an_unknown_chunker_is_refused(self, api, source):
        answer = api.patch(f"{SOURCES}rules/", {"chunking": {"chunker": "magic"}}, HTTP_IF_MATCH="*")

        assert answer.status_code == 400
        assert "structure" in answer.json()["detail"]

    def test_settings_change_before_there_are_documents(self, api, source):
        before = source.active_index_id

        answer = api.patch(f"{SOURCES}rules/", {"chunking": {"max_tokens": 100}}, HTTP_IF_MATCH='"1"')

        assert answer.status_code == 200
        source.refresh_from_db()
        assert source.chunking["max_tokens"] == 100
        assert source.active_index_id != before

    def test_settings_are_frozen_once_there_are_documents(self, api, source):
        DocumentFactory(source=source)

        answer = api.patch(f"{SOURCES}rules/", {"chunking": {"max_tokens": 100}}, HTTP_IF_MATCH='"1"')
        renamed = api.patch(f"{SOURCES}rules/", {"name": "Laws"}, HTTP_IF_MATCH='"1"')

        assert answer.status_code == 409
        assert "new source" in answer.json()["detail"]
        assert renamed.status_code == 200
        assert KnowledgeSource._unscoped.get(pk=source.pk).chunking["max_tokens"] == 200

    def test_a_stale_change_is_refused(self, api, source):
        assert api.patch(f"{SOURCES}rules/", {"name": "A"}).status_code == 428
        assert api.patch(f"{SOURCES}rules/", {"name": "A"}, HTTP_IF_MATCH='"7"').status_code == 412

    def test_a_deleted_source_takes_everything_with_it(
        self, api, source, ingest, storage_dir, django_capture_on_commit_callbacks
    ):
        ingest(source, "Thirty days of leave.")

        with django_capture_on_commit_callbacks(execute=True):
            answer = api.delete(f"{SOURCES}rules/", HTTP_IF_MATCH="*")

        assert answer.status_code == 204
        assert not Document._unscoped.exists()
        assert [path for path in storage_dir.rglob("*") if path.is_file()] == []
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [f"knowledge_chunkvector_{source.active_index_id.hex}"])
            assert cursor.fetchone()[0] is None

    def test_the_list_counts_documents_without_a_query_each(self, api, source_with):
        for n in range(3):
            DocumentFactory(source=source_with(slug=f"s{n}"), status=DocumentStatus.FAILED)

        with CaptureQueriesContext(
            connection,
        ) as queries:
            results = api.get(SOURCES).json()["results"]

        assert [one["documents"]["failed"] for one in results] == [1, 1, 1]
        assert len(queries) <= 6


class TestUploads:
    def test_a_file_is_accepted_with_its_job(self, api, source):
        answer = post_file(api, source)

        body = answer.json()
        assert answer.status_code == 202
        assert body["status"] == "pending"
        assert answer["Location"] == f"/api/v1/jobs/{body['job_id']}/"
        document = Document._unscoped.get(pk=body["document_id"])
        assert (document.filename, document.title, document.media_type) == ("leave.txt", "leave", "text/plain")
        assert document.external_id == "leave.txt"
        assert Job._unscoped.get(pk=body["job_id"]).subject_id == document.pk

    def test_a_text_is_accepted(self, api, source):
        answer = api.post(of(source), {"title": "Leave", "text": "Thirty days.", "metadata": {"department": "HR"}})

        assert answer.status_code == 202
        document = Document._unscoped.get()
        assert (document.title, document.metadata) == ("Leave", {"department": "HR"})

    def test_the_same_content_again_is_no_new_work(self, api, source):
        first = post_file(api, source).json()
        waiting = post_file(api, source)
        document_ingest(first["job_id"])
        ready = post_file(api, source)

        assert (waiting.status_code, waiting.json()) == (202, first)
        assert ready.status_code == 200
        assert ready.json() == {"job_id": None, "document_id": first["document_id"], "status": "ready"}
        assert Job._unscoped.count() == 1

    def test_other_metadata_is_new_work(self, api, source):
        post_file(api, source)

        answer = post_file(api, source, metadata=json.dumps({"year": 2026}))

        assert answer.status_code == 202
        assert Document._unscoped.get().metadata == {"year": 2026}

    def test_an_external_id_may_hold_slashes(self, api, source):
        url = f"{of(source)}by-external-id/wiki/hr/leave 2026.html"

        first = api.put(url, {"title": "Leave", "text": "Thirty days."})
        second = api.put(url, {"title": "Leave", "text": "Thirty-one days."})

        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["document_id"] == second.json()["document_id"]
        assert Document._unscoped.get().external_id == "wiki/hr/leave 2026.html"

    @pytest.mark.parametrize(
        "values,status",
        [
            ({"file": file(b"", "empty.txt")}, 400),
            ({"file": file(b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "picture.png")}, 415),
            ({"file": file(b"MZ\x90\0\x03\0\0\0", "program.exe")}, 415),
            ({}, 400),
            ({"file": file(), "metadata": "[1]"}, 400),
            ({"file": file(), "metadata": '{"a": {"b": 1}}'}, 400),
            ({"file": file(), "metadata": '{"a": "\\u0000"}'}, 400),
            ({"file": file(), "metadata": '{"a": "\\ud800"}'}, 400),
            ({"file": file(), "metadata": '{"\\u0000": 1}'}, 400),
            ({"file": file(), "metadata": "no json"}, 400),
            ({"file": file(), "url": "javascript:alert(1)"}, 400),
            ({"file": file(), "external_id": "x" * 501}, 400),
        ],
    )
    def test_what_is_refused_leaves_nothing(self, api, source, storage_dir, values, status):
        answer = api.post(of(source), values, format="multipart")

        assert answer.status_code == status, answer.json()
        assert answer["Content-Type"].startswith("application/problem+json")
        assert not Document._unscoped.exists()
        assert not Job._unscoped.exists()
        assert [path for path in storage_dir.rglob("*") if path.is_file()] == []

    def test_a_refused_type_lists_those_that_can_be_read(self, api, source):
        answer = api.post(of(source), {"file": file(b"{\\rtf1 }", "letter.rtf")}, format="multipart")

        assert answer.status_code == 415
        for extension in (".pdf", ".docx", ".pptx", ".xlsx", ".html", ".md", ".csv", ".txt", ".eml"):
            assert extension in answer.json()["detail"]

    def test_a_file_over_the_cap_is_refused(self, api, source, settings, storage_dir):
        settings.MAX_DOCUMENT_BYTES = 10

        answer = post_file(api, source)

        assert answer.status_code == 413
        assert [path for path in storage_dir.rglob("*") if path.is_file()] == []

    def test_a_file_over_the_quota_is_refused_and_says_which(self, api, source, settings, storage_dir):
        settings.QUOTA_STORAGE_BYTES = 1

        answer = post_file(api, source)

        assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
        assert "QUOTA_STORAGE_MB" in answer.json()["detail"]
        assert [path for path in storage_dir.rglob("*") if path.is_file()] == []
        assert not Document._unscoped.exists()

    @pytest.mark.parametrize(
        "name",
        ["../../etc/passwd.txt", "..\\..\\x.txt", "/etc/x.txt", "a" * 300 + ".txt", "CON.txt", "\u202etxt.exe.txt"],
    )
    def test_a_name_leads_nowhere(self, api, source, storage_dir, name):
        answer = api.post(of(source), {"file": file(name=name)}, format="multipart")

        assert answer.status_code == 202, answer.json()
        document = Document._unscoped.get()
        assert "/" not in document.filename
        assert "\\" not in document.filename
        stored = [path for path in storage_dir.rglob("*") if path.is_file()]
        assert [str(path.relative_to(storage_dir)) for path in stored] == [f"documents/{document.storage_key}"]

    def test_a_text_that_is_no_text_is_refused(self, api, source):
        for text in ("", "\x00", "\ud800"):
            answer = api.post(of(source), json.dumps({"title": "T", "text": text}), content_type="application/json")
            assert answer.status_code == 400
        assert not Document._unscoped.exists()


class TestDocuments:
    @pytest.fixture
    def document(self, source, ingest):
        return ingest(source, io.BytesIO(b"# Leave\n\nThirty days."), filename="leave.md", metadata={"year": 2026})

    def test_a_document_tells_what_it_is(self, api, document):
        body = api.get(f"{DOCUMENTS}{document.pk}/").json()

        assert {name: body[name] for name in ("source", "title", "status", "reason", "chunk_count", "attempts")} == {
            "source": "rules", "title": "Leave", "status": "ready", "reason": "", "chunk_count": 1, "attempts": 1,
        }  # fmt: skip
        assert body["metadata"] == {"year": 2026}

    def test_text_and_passages_fit_together(self, api, document):
        text = api.get(f"{DOCUMENTS}{document.pk}/text").json()
        chunks = api.get(f"{DOCUMENTS}{document.pk}/chunks/").json()["results"]

        assert text == {"text": "Leave\n\nThirty days.", "length": 19}
        assert [text["text"][one["char_start"] : one["char_end"]] for one in chunks] == [one["text"] for one in chunks]
        assert chunks[0]["heading_path"] == ["Leave"]
        assert chunks[0]["ordinal"] == 0

    def test_the_file_is_a_download(self, api, document):
        answer = api.get(f"{DOCUMENTS}{document.pk}/file")

        assert b"".join(answer.streaming_content) == b"# Leave\n\nThirty days."
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"] == "attachment; filename*=UTF-8''leave.md"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]

    def test_a_deleted_document_is_gone(self, api, document, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            assert api.delete(f"{DOCUMENTS}{document.pk}/").status_code == 204

        for path in ("/", "/text", "/file", "/chunks/"):
            assert api.get(f"{DOCUMENTS}{document.pk}{path}").status_code == 404

    def test_only_a_failed_document_is_retried(self, api, document):
        assert api.post(f"{DOCUMENTS}{document.pk}/retry").status_code == 409

        Document._unscoped.filter(pk=document.pk).update(status=DocumentStatus.FAILED, reason="Broken.")
        answer = api.post(f"{DOCUMENTS}{document.pk}/retry")

        assert answer.status_code == 202
        assert answer.json()["status"] == "pending"
        document_ingest(answer.json()["job_id"])
        assert Document._unscoped.get(pk=document.pk).status == DocumentStatus.READY

    def test_a_document_without_text_says_so(self, api, source):
        document = DocumentFactory(source=source, status=DocumentStatus.PENDING)

        assert api.get(f"{DOCUMENTS}{document.pk}/text").status_code == 404
        assert api.get(f"{DOCUMENTS}{document.pk}/file").status_code == 404
        assert api.get(f"{DOCUMENTS}{document.pk}/chunks/").json()["results"] == []

    def test_lists_are_filtered_ordered_and_paged(self, api, source):
        for n, status in enumerate(["ready", "failed", "ready"]):
            DocumentFactory(source=source, title=f"T{n}", status=status, external_id=f"x{n}")

        def titles(query: str) -> list[str]:
            return [one["title"] for one in api.get(f"{DOCUMENTS}?{query}").json()["results"]]

        assert titles("status=ready&ordering=title") == ["T0", "T2"]
        assert titles("ordering=-title&limit=2") == ["T2", "T1"]
        assert titles("search=T1") == ["T1"]
        assert titles("source__slug=rules&external_id=x2") == ["T2"]
        assert titles("updated_at__gte=2001-01-01T00:00:00Z&status=failed") == ["T1"]
        assert api.get(f"{DOCUMENTS}?colour=red").status_code == 400
        assert api.get(f"{DOCUMENTS}?ordering=colour").status_code == 400

    def test_a_list_costs_the_same_for_many(self, api, source):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert api.get(of(source)).status_code == 200
            return len(captured)

        DocumentFactory(source=source)
        queries()
        few = queries()
        for _ in range(20):
            DocumentFactory(source=source)

        assert queries() == few <= 6


class TestRights:
    @pytest.fixture
    def document(self, source, ingest):
        return ingest(source, "Thirty days.")

    @pytest.mark.parametrize(
        "role,scopes,rights",
        [
            (Role.USER, tuple(Scope), (403, 403)),
            (Role.VIEWER, tuple(Scope), (200, 403)),
            (Role.OPERATOR, (Scope.READ, Scope.RUN), (200, 403)),
            (Role.OPERATOR, (Scope.INGEST, Scope.MANAGE), (403, 202)),
            (Role.OPERATOR, tuple(Scope), (200, 202)),
        ],
    )
    def test_roles_and_scopes_decide(self, client_of, source, document, role, scopes, rights):
        reads, writes = rights
        api = client_of(MembershipFactory(workspace=source.workspace, role=role), scopes=scopes)

        assert [api.get(path).status_code for path in (f"{SOURCES}rules/", of(source))] == [reads] * 2
        paths = [f"{DOCUMENTS}{document.pk}/{path}" for path in ("", "text", "file", "chunks/")]
        assert [api.get(path).status_code for path in paths] == [reads] * 4
        if writes == 403:
            assert api.post(of(source), {"title": "T", "text": "x"}).status_code == 403
            assert api.put(f"{of(source)}by-external-id/x", {"title": "T", "text": "x"}).status_code == 403
            assert api.delete(f"{DOCUMENTS}{document.pk}/").status_code == 403
            assert api.post(f"{DOCUMENTS}{document.pk}/retry").status_code == 403
            assert api.post(SOURCES, {"name": "N", "slug": "n"}).status_code == 403
            assert api.patch(f"{SOURCES}rules/", {"name": "N"}, HTTP_IF_MATCH="*").status_code == 403
            assert api.delete(f"{SOURCES}rules/", HTTP_IF_MATCH="*").status_code == 403
            assert Document._unscoped.get().pk == document.pk
        else:
            assert api.post(of(source), {"title": "T", "text": "x"}).status_code == 202

    def test_without_credentials_nothing_is_answered(self, client, source, document):
        for path in (SOURCES, f"{SOURCES}rules/", of(source), DOCUMENTS, f"{DOCUMENTS}{document.pk}/file"):
            assert client.get(path).status_code == 401

    @pytest.mark.parametrize("role", list(Role))
    def test_another_workspace_sees_nothing(self, client_of, source, document, role):
        other = MembershipFactory(role=role)
        mine = SourceFactory(workspace=other.workspace, slug="mine")
        api = client_of(other)
        none = {200: [], 403: None}

        listed = api.get(DOCUMENTS)
        assert (listed.json().get("results") if listed.status_code == 200 else None) == none[listed.status_code]
        for reference in (source.pk, "rules"):
            assert api.get(f"{SOURCES}{reference}/").status_code in {404, 403}
        if role is Role.USER:
            return
        names = [one["slug"] for one in api.get(SOURCES).json()["results"]]
        assert names == ["mine"]
        assert api.get(f"{DOCUMENTS}?source__slug=rules").json()["results"] == []
        for path in ("", "text", "file", "chunks/"):
            assert api.get(f"{DOCUMENTS}{document.pk}/{path}").status_code == 404
        assert api.get(f"{SOURCES}{source.pk}/documents/").status_code == 404
        if role in {Role.OPERATOR, Role.ADMIN}:
            assert api.post(f"{SOURCES}{source.pk}/documents/", {"title": "T", "text": "x"}).status_code == 404
            assert api.delete(f"{DOCUMENTS}{document.pk}/").status_code == 404
            assert api.post(f"{DOCUMENTS}{document.pk}/retry").status_code == 404
            assert api.patch(f"{SOURCES}{source.pk}/", {"name": "N"}, HTTP_IF_MATCH="*").status_code == 404
            foreign = {"embedding_model": str(source.embedding_model_id)}
            assert api.patch(f"{SOURCES}mine/", foreign, HTTP_IF_MATCH="*").status_code == 400
        assert Document._unscoped.get().pk == document.pk
        assert mine.documents.count() == 0
