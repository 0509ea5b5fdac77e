"""What generated requests are sent to: a real web process on workspaces in which runs, queries and searches succeed.

Its models are those of the scripted provider. Rows have the slugs that the examples of the description name.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import requests
from django.conf import settings
from django.test import override_settings

from accounts.keys import new_key
from accounts.models import ApiKey, Group, Workspace
from accounts.services import api_key_issue
from core.access import Role
from core.variant_services import variant_publish
from knowledge.ingesting import document_ingest
from knowledge.models import Document, KnowledgeSource
from knowledge.services import Upload, document_upload, source_create
from llm.choices import ProviderType
from llm.models import Model, Provider
from llm.services import model_create, provider_create
from magnet.tests.admin_world import TEXT, World, world
from magnet.tests.api_walk import OTHERS, values_of
from magnet.tests.committed import remove_rows
from magnet.tests.contract import Described
from magnet.tests.scripted_provider import ScriptedProvider
from magnet.tests.web import web_process
from prompts.models import PromptTemplate
from prompts.seeds import RAG_ANSWER, seed_workspace
from prompts.services import prompt_create
from rag.models import RagTool, RetrievalTool
from rag.services import rag_tool_create, retrieval_tool_create

NOBODY, GARBAGE = "nobody", "garbage"
CALLERS = (NOBODY, GARBAGE, *(role.value for role in Role))
PLENTY = "1000000"
SLASHES_OF_A_ROW = "/api/v1/models/{id}/".count("/")


@dataclass
class Place:
    """A workspace with rows to work on, and a key of each role.

    spare: slugs of rows that nothing uses, by resource, to be deleted. answered: how often an operation gave a status.
    """

    address: str
    world: World
    spare: dict[str, str]
    keys: dict[str, str]
    session: requests.Session
    answered: dict[str, Counter[int]] = field(default_factory=dict)

    def values(self, operation: Described) -> dict[str, str]:
        """What stands for the parameters of the operation's path, to come to a row that it can work on."""
        values = values_of(self.world, operation.path)
        kind = operation.path.removeprefix("/api/v1/").split("/")[0]
        if operation.method == "DELETE" and kind in self.spare and operation.path.count("/") == SLASHES_OF_A_ROW:
            values["id"] = self.spare[kind]
        # The first variant is published; `variants/` makes a draft before it is changed or published.
        if "n" in values and (operation.method == "PATCH" or operation.path.endswith("/publish")):
            values["n"] = "2"
        return values

    def headers(self, caller: str) -> dict[str, str]:
        """Of a role, of nobody, or of somebody with a key that never was; a new one, as one is locked after ten."""
        text = str(new_key()) if caller == GARBAGE else self.keys.get(caller, "")
        return {"Authorization": f"Bearer {text}"} if text else {}

    def count(self, operation: Described, status: int) -> None:
        self.answered.setdefault(str(operation), Counter())[status] += 1


@contextmanager
def places(folder: Path, server: ScriptedProvider, *names: str) -> Iterator[list[Place]]:
    """A web process with a workspace of each name: what is deleted in one is not missing in another."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # each request stands alone
    variables = {
        "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "OUTBOUND_ALLOW": f"provider={server.endpoint}",
        **dict.fromkeys(("RATE_READS", "RATE_WRITES", "RATE_RUNS"), PLENTY),
    }
    with override_settings(STORAGE_DIR=folder / "files", OUTBOUND_ALLOW=server.allow):
        try:
            made = [_furnished(name, server) for name in names]
            with web_process(folder, **variables) as address:
                yield [Place(address, one, _spare(one), _keys(one), session) for one in made]
        finally:
            remove_rows()


def _keys(made: World) -> dict[str, str]:
    return {
        role.value: api_key_issue(user=made.member(role), workspace=made.workspace, name=f"fuzz {role}").text
        for role in Role
    }


def _spare(made: World) -> dict[str, str]:
    names = {"name": "Spare", "slug": "spare"}
    for slug in ("spare", "own-vllm"):  # the other one is what the example of a model names
        provider_create(principal=made.principal, values={"name": slug, "slug": slug, "type": ProviderType.LOCAL})
    values = {**names, "provider": made[Provider], "kind": "chat", "identifier": "spare"}
    model_create(principal=made.principal, values=values)
    source_create(principal=made.principal, values=names)
    retrieval_tool_create(principal=made.principal, values=names, variant={"sources": [made[KnowledgeSource]]})
    prompt_create(principal=made.principal, values=names, variant={"messages": SUMMARY["messages"]})
    return dict.fromkeys(("providers", "models", "knowledge-sources", "retrieval-tools", "prompt-templates"), "spare")


# No variable has to be given, so that generated runs succeed.
SUMMARY = {
    "messages": [{"role": "user", "content": "Summarise in {{ sentences }} sentences: {{ text }}"}],
    "variables": [
        {"name": "sentences", "type": "number", "required": False, "default": 3},
        {"name": "text", "type": "text", "required": False, "default": "Nothing."},
    ],
}


def _furnished(name: str, server: ScriptedProvider) -> World:
    """A row of each kind, models that answer, a source that is indexed, and published tools that all may run."""
    made = world(name)
    Provider._unscoped.filter(pk=made[Provider].pk).update(slug="openai", type=ProviderType.OPENAI, base_url=server.url)
    for identifier, kind in (("ok", "chat"), ("embed", "embedding")):
        Model._unscoped.filter(workspace=made.workspace, kind=kind).update(identifier=identifier)
    chat = Model.objects.for_workspace(made.workspace.pk).get(kind="chat")
    Model._unscoped.filter(pk=chat.pk).update(slug="gpt-5-mini")
    Group._unscoped.filter(pk=made[Group].pk).update(slug="hr")
    Workspace.objects.filter(pk=made.workspace.pk).update(slug="default" if name == "east" else name)
    ApiKey._unscoped.filter(pk=made[ApiKey].pk).update(scopes=["manage"])
    made.rows[Model] = chat
    _indexed(made)
    _published(made)
    return made


def _indexed(made: World) -> None:
    source = source_create(principal=made.principal, values={"name": "Handbook", "slug": "handbook"})
    document, job = document_upload(
        principal=made.principal,
        source=source,
        upload=Upload(TEXT, title="Leave", external_id=OTHERS["external_id"]),
    )
    document_ingest(job.pk)
    document.refresh_from_db()
    assert document.status == "ready", document.reason
    made.rows |= {KnowledgeSource: source, Document: document}


def _published(made: World) -> None:
    seed_workspace(made.workspace.pk)
    answer = PromptTemplate.objects.for_workspace(made.workspace.pk).get(slug=RAG_ANSWER)
    who = made.principal
    summary = prompt_create(
        principal=who,
        values={"name": "Summary", "slug": "summary"},
        variant={**SUMMARY, "model": made[Model]},
    )
    search = retrieval_tool_create(
        principal=who,
        values={"name": "Search", "slug": "handbook-search"},
        variant={"sources": [made[KnowledgeSource]]},
    )
    questions = rag_tool_create(
        principal=who,
        values={"name": "Questions", "slug": "handbook-qa"},
        variant={"retrieval_tool": search, "prompt": answer},
    )
    for tool in (summary, search, questions):
        variant_publish(tool.variants.get(), actor=who.user)
    made.rows |= {PromptTemplate: summary, RetrievalTool: search, RagTool: questions}
