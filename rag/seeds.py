"""The tools that a new platform comes with, over the handbook."""

import uuid

from accounts.models import Workspace
from accounts.selectors import system_principal
from accounts.services import seed_once
from core.variant_services import variant_publish
from knowledge.models import KnowledgeSource
from knowledge.seeds import DEFAULT_WORKSPACE, HANDBOOK
from prompts.models import PromptTemplate
from prompts.seeds import RAG_ANSWER
from rag.models import RagTool, RetrievalTool
from rag.services import rag_tool_create, retrieval_tool_create

SEARCH = "handbook-search"
QUESTIONS = "handbook-qa"
SAMPLES = [
    "How many days of annual leave do I get?",
    "How much can I spend on a hotel?",
    "What do I do when my laptop is stolen?",
    "Can I work from home?",
]


def seed_tools() -> None:
    """The first workspace gets a published retrieval tool and RAG tool, once."""
    workspace = Workspace.objects.filter(slug=DEFAULT_WORKSPACE).first()
    if workspace is not None:
        seed_once(workspace.pk, f"rag.{SEARCH}", lambda: _search(workspace.pk))
        seed_once(workspace.pk, f"rag.{QUESTIONS}", lambda: _questions(workspace.pk))


def _search(workspace_id: uuid.UUID) -> None:
    source = KnowledgeSource.objects.for_workspace(workspace_id).filter(slug=HANDBOOK).first()
    if source is None or RetrievalTool.objects.for_workspace(workspace_id).filter(slug=SEARCH).exists():
        return
    tool = retrieval_tool_create(
        principal=system_principal(workspace_id),
        values={"name": "Handbook search", "slug": SEARCH, "description": "Finds passages of the handbook."},
        variant={"sources": [source], "note": "As shipped"},
    )
    variant_publish(tool.variants.get(), actor=None)


def _questions(workspace_id: uuid.UUID) -> None:
    search = RetrievalTool.objects.for_workspace(workspace_id).filter(slug=SEARCH).first()
    prompt = PromptTemplate.objects.for_workspace(workspace_id).filter(slug=RAG_ANSWER).first()
    if search is None or prompt is None or RagTool.objects.for_workspace(workspace_id).filter(slug=QUESTIONS).exists():
        return
    tool = rag_tool_create(
        principal=system_principal(workspace_id),
        values={
            "name": "Handbook answers",
            "slug": QUESTIONS,
            "description": "Answers questions about the handbook, with citations.",
            "header": "Ask the handbook",
            "sample_questions": SAMPLES,
        },
        variant={"retrieval_tool": search, "prompt": prompt, "note": "As shipped"},
    )
    variant_publish(tool.variants.get(), actor=None)
