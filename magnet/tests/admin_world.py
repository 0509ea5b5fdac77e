"""A workspace with one row of each kind, for tests of the admin. Every text carries the workspace's own marker."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.groups import group_create
from accounts.models import AuditEvent, Group, Membership, User, Workspace
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, WorkspaceFactory, principal_of
from core.access import Principal, Role
from core.variant_services import variant_publish
from knowledge.models import Chunk, Document, DocumentText, KnowledgeSource
from knowledge.services import source_create
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider
from llm.services import model_create, provider_create
from observability.budget_services import budget_create
from observability.models import Budget, Job, Run, Span, Trace, UsageRecord
from prompts.models import PromptTemplate
from prompts.services import prompt_create
from rag.models import RagTool, RetrievalTool
from rag.services import rag_tool_create, retrieval_tool_create

TEXT = "Annual leave\n\nEverybody has 28 days of leave.\n\nUp to 5 days carry over."


@dataclass
class World:
    """The rows of one workspace, by model."""

    marker: str
    workspace: Workspace
    principal: Principal
    rows: dict[type[models.Model], Any] = field(default_factory=dict)

    def __getitem__(self, model: type[models.Model]) -> Any:
        return self.rows[model]

    def member(self, role: Role) -> User:
        user: User = MembershipFactory(workspace=self.workspace, role=role).user
        return user

    def client(self, role: Role = Role.OPERATOR) -> Client:
        return signed_in(self.member(role))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def world(marker: str) -> World:
    """Build a workspace whose names all begin with the marker."""
    membership = MembershipFactory(workspace=WorkspaceFactory(name=marker, slug=marker), role=Role.ADMIN)
    found = World(marker, membership.workspace, principal_of(membership))
    _models(found)
    _knowledge(found)
    _tools(found)
    _history(found)
    found.rows[Budget] = budget_create(
        principal=found.principal, values={**_names(found, "budget"), "unit": "tokens", "limit": 10**9}
    )
    found.rows[Membership] = membership
    group = group_create(principal=found.principal, values={**_names(found, "group"), "members": [membership]})
    found.rows[Group] = group
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name=f"{marker}-key")
    found.rows[type(issued.key)] = issued.key
    found.rows[AuditEvent] = AuditEvent.objects.for_workspace(found.workspace.pk).first()
    return found


def _names(made: World, what: str) -> dict[str, str]:
    return {"name": f"{made.marker} {what}", "slug": f"{made.marker}-{what}"}


def _models(made: World) -> None:
    provider = provider_create(
        principal=made.principal, values={**_names(made, "provider"), "type": ProviderType.LOCAL}
    )
    made.rows[Provider] = provider
    # The embedding model is the last: rows that depend on it show what uses a model.
    for kind in (ModelKind.CHAT, ModelKind.RERANK, ModelKind.EMBEDDING):
        values = {**_names(made, kind.value), "provider": provider, "kind": kind, "identifier": kind.value}
        made.rows[Model] = model_create(principal=made.principal, values={**values, "is_default": True})


def _knowledge(made: World) -> None:
    source = source_create(principal=made.principal, values=_names(made, "source"))
    document = Document(
        workspace=made.workspace,
        source=source,
        external_id="leave.md",
        title=f"{made.marker} leave",
        filename="leave.md",
        media_type="text/markdown",
        size=len(TEXT),
        checksum="0" * 64,
        storage_key="",
        status="ready",
        chunk_count=2,
    )
    document.save()
    DocumentText.objects.create(document=document, text=TEXT)
    middle = TEXT.index("Up to")
    for ordinal, (start, end) in enumerate([(0, middle - 2), (middle, len(TEXT))]):
        Chunk(
            workspace=made.workspace,
            document=document,
            index=source.active_index,
            ordinal=ordinal,
            text=TEXT[start:end],
            heading_path=["Annual leave"],
            char_start=start,
            char_end=end,
            text_hash=str(ordinal),
        ).save()
    made.rows |= {KnowledgeSource: source, Document: document}


def _tools(made: World) -> None:
    who = made.principal
    prompt = prompt_create(
        principal=who,
        values={**_names(made, "prompt"), "category": "rag"},
        variant={"messages": [{"role": "user", "content": "{{ context }} {{ question }}"}]},
    )
    search = retrieval_tool_create(
        principal=who, values=_names(made, "search"), variant={"sources": [made[KnowledgeSource]]}
    )
    tool = rag_tool_create(
        principal=who, values=_names(made, "qa"), variant={"retrieval_tool": search, "prompt": prompt}
    )
    for parent in (prompt, search, tool):
        variant_publish(parent.variants.get(), actor=who.user)
    made.rows |= {PromptTemplate: prompt, RetrievalTool: search, RagTool: tool}
    made.rows |= {type(parent.variants.get()): parent.variants.get() for parent in (prompt, search, tool)}


def _history(made: World) -> None:
    workspace, person = made.workspace, made.principal.user
    trace = Trace(workspace=workspace, name=f"{made.marker} trace", kind="rag_tool", started_at=timezone.now())
    trace.duration_ms = 100
    trace.save()
    root = Span(workspace=workspace, trace=trace, name="run", operation="run", started_at=trace.started_at)
    root.duration_ms = 100
    root.save()
    Span(
        workspace=workspace,
        trace=trace,
        parent=root,
        name="chat",
        operation="chat",
        started_at=trace.started_at + timedelta(milliseconds=50),
        duration_ms=25,
        status="error",
        error="cut off",
    ).save()
    tool = made[RagTool]
    run = Run(
        workspace=workspace,
        kind="rag_tool",
        target_id=tool.pk,
        target_slug=tool.slug,
        variant=1,
        variant_id=tool.variants.get().pk,
        status="completed",
        input={"question": f"{made.marker} question?"},
        content=f"{made.marker} content",
        user=person,
        trace=trace,
        answer={"retrieved": [{"title": f"{made.marker} passage", "text": "t", "score": 0.5}]},
    )
    run.save()
    usage = UsageRecord(
        workspace=workspace,
        trace=trace,
        run=run,
        operation="chat",
        provider_type="local",
        provider_slug=f"{made.marker}-provider",
        model_slug=f"{made.marker}-chat",
        model_identifier="chat",
        input_tokens=1200,
        output_tokens=34,
        estimated=True,
    )
    usage.save()
    job = Job(
        workspace=workspace,
        kind="ingest_document",
        title=f"{made.marker} job",
        status="failed",
        task="knowledge.tasks.ingest_document",
        queue="ingest",
        subject_id=made[Document].pk,
        reason="The file is damaged.",
        progress_done=1,
        progress_total=3,
    )
    job.save()
    made.rows |= {Trace: trace, Run: run, UsageRecord: usage, Job: job}


def url(page: str, row: Any, *args: Any) -> str:
    """The admin's page of a row, or the list of its kind."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[row.pk, *args]) if page != "changelist" else reverse(name)
