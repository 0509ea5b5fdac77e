from dataclasses import dataclass

import pytest

from accounts.models import Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role, Scope
from core.variant_services import variant_publish
from knowledge.ingesting import document_ingest
from knowledge.models import Document, KnowledgeSource
from knowledge.services import Upload, document_upload, source_create
from llm.seeds import seed_workspace as seed_models
from prompts.models import PromptTemplate
from prompts.seeds import seed_workspace as seed_prompts
from rag.models import RagTool, RetrievalTool
from rag.services import rag_tool_create, retrieval_tool_create

LEAVE = (
    "Every employee of the observatory has 27 days of holiday in a calendar year. "
    "Holiday that is not taken by 31 March of the next year is lost."
)
TELESCOPE = (
    "The large telescope has a mirror of 3.5 metres. It was built in 1994 by the workshop in Jena. "
    "The dome is opened by the night assistant only."
)
KITCHEN = "The kitchen closes at 21:30. Guests pay 6 euros for dinner. Bread and soup are free for night staff."


@dataclass
class World:
    """A workspace with three indexed documents, a published retrieval tool and a published RAG tool."""

    member: Membership
    source: KnowledgeSource
    search: RetrievalTool
    tool: RagTool
    documents: dict[str, Document]

    def headers(self, member: Membership | None = None, scopes=tuple(Scope)) -> dict[str, str]:
        who = member or self.member
        issued = api_key_issue(user=who.user, workspace=who.workspace, name="test", scopes=scopes)
        return {"Authorization": f"Bearer {issued.text}"}

    def colleague(self, role: Role) -> Membership:
        return MembershipFactory(workspace=self.member.workspace, role=role)


@pytest.fixture
def world(transactional_db, settings, tmp_path) -> World:
    settings.STORAGE_DIR = tmp_path
    member = MembershipFactory(role=Role.OPERATOR, workspace__slug="observatory")
    seed_models(member.workspace_id)
    seed_prompts(member.workspace_id)
    principal = principal_of(member)
    source = source_create(principal=principal, values={"name": "House rules", "slug": "rules"})
    documents = {}
    for title, text in (("Holiday", LEAVE), ("Telescope", TELESCOPE), ("Kitchen", KITCHEN)):
        document, job = document_upload(principal=principal, source=source, upload=Upload(text, title=title))
        document_ingest(job.pk)
        document.refresh_from_db()
        assert document.status == "ready"
        documents[title] = document
    search = retrieval_tool_create(
        principal=principal,
        values={"name": "Rules search", "slug": "rules-search"},
        variant={"sources": [source], "top_k": 3},
    )
    variant_publish(search.variants.get(), actor=member.user)
    prompt = PromptTemplate.objects.for_workspace(member.workspace_id).get(slug="rag-answer")
    tool = rag_tool_create(
        principal=principal,
        values={"name": "Rules", "slug": "rules-qa"},
        variant={"retrieval_tool": search, "prompt": prompt},
    )
    variant_publish(tool.variants.get(), actor=member.user)
    return World(member, source, search, tool, documents)
