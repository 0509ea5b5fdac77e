"""What `benchmark stream` runs, in a workspace of its own: models, a prompt template, a RAG tool on a small source."""

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accounts.models import Workspace
from accounts.selectors import keys_with_role, principal_for_key
from accounts.services import api_key_issue, command_user
from core.access import Principal
from core.variant_services import variant_publish
from knowledge import benchmarking as corpus
from llm.choices import ModelKind, ProviderType
from llm.models import Model, Provider
from llm.seeds import seed_workspace
from magnet.benchmarks.vendor import Speech
from prompts.models import PromptTemplate
from prompts.services import prompt_create
from rag.models import RagTool, RetrievalTool
from rag.services import rag_tool_create, retrieval_tool_create

DOCUMENTS = 200
QUESTION = "What does word 7 mean?"
PROMPT, RAG_PROMPT, SEARCH, RAG = "bench-prompt", "bench-rag-prompt", "bench-search", "bench-rag"


@dataclass(frozen=True)
class Rows:
    """A workspace for a while. key: one with every scope in it."""

    workspace: Workspace
    principal: Principal
    key: str


@contextmanager
def rows(vendor_url: str, quick: Speech, long: Speech) -> Iterator[Rows]:
    """Raises NotFound when there is no superuser yet."""
    workspace = Workspace.objects.create(name="Benchmark", slug=f"benchmark-{uuid.uuid4().hex[:12]}")
    try:
        seed_workspace(workspace.pk)
        issued = api_key_issue(user=command_user(None, workspace), workspace=workspace, name="benchmark")
        made = Rows(workspace, principal_for_key(keys_with_role().get(pk=issued.key.pk)), issued.text)
        _tools(made, _models(workspace, vendor_url, quick, long))
        yield made
    finally:
        for kind in (RagTool, RetrievalTool, PromptTemplate):
            kind.objects.for_workspace(workspace.pk).delete()
        corpus.remove(workspace)


def _models(workspace: Workspace, vendor_url: str, quick: Speech, long: Speech) -> Model:
    """The models, none of them a default; answers the quick one."""
    vendor = Provider(
        workspace=workspace, name="V", slug="v", type=ProviderType.OPENAI, base_url=vendor_url, api_key="x"
    )
    vendor.save()
    for name in (quick.model, long.model):
        model = Model(workspace=workspace, provider=vendor, name=name, slug=name, identifier=name, kind=ModelKind.CHAT)
        model.save()
    found: Model = Model.objects.for_workspace(workspace.pk).get(slug=quick.model)
    return found


def _tools(made: Rows, model: Model) -> None:
    """Published tools that all talk through this model."""
    source = corpus.make_source(made.workspace)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "corpus.jsonl"
        lines = [json.dumps({"_id": str(n), "title": "", "text": f"word {n} means {n * 7}."}) for n in range(DOCUMENTS)]
        file.write_text("\n".join(lines))
        corpus.fill(source, corpus.Collection("stream", file, {}, {}), lambda _: None)
    plain = _prompt(made, PROMPT, "{{ text }}", model)
    with_passages = _prompt(made, RAG_PROMPT, "{{ context }} {{ question }}", None)
    search = retrieval_tool_create(
        principal=made.principal, values={"name": SEARCH, "slug": SEARCH}, variant={"sources": [source]}
    )
    tool = rag_tool_create(
        principal=made.principal,
        values={"name": RAG, "slug": RAG},
        variant={"retrieval_tool": search, "prompt": with_passages, "model": model},
    )
    for one in (plain, with_passages, search, tool):
        variant_publish(one.variants.get(), actor=made.principal.user)


def _prompt(made: Rows, slug: str, text: str, model: Model | None) -> PromptTemplate:
    variant = {"messages": [{"role": "user", "content": text}], **({"model": model} if model else {})}
    return prompt_create(principal=made.principal, values={"name": slug, "slug": slug}, variant=variant)
