import pytest

from accounts.tests.factories import WorkspaceFactory
from core.variant_services import variant_resolve
from plugins.contracts import REFUSAL, MessageRole
from prompts.models import PromptTemplate
from prompts.rendering import render
from prompts.seeds import seed_all, seed_workspace

pytestmark = pytest.mark.django_db


def test_the_rag_prompt_is_published_and_asks_for_citations_and_the_refusal():
    workspace = WorkspaceFactory()

    seed_all()

    template = PromptTemplate.objects.for_workspace(workspace.pk).get(slug="rag-answer")
    variant = variant_resolve(template)
    system, user = render(variant.messages, {"context": "[1] Leave\n28 days.", "question": "How many days?"})
    assert (system.role, user.role) == (MessageRole.SYSTEM, MessageRole.USER)
    assert f"exactly this sentence and nothing else: {REFUSAL}\n" in system.content
    assert user.content == "<passages>\n[1] Leave\n28 days.\n</passages>\n\nQuestion: How many days?"
    assert variant.placeholders == ["context", "question"]


def test_seeding_again_keeps_what_people_changed():
    workspace = WorkspaceFactory()
    seed_workspace(workspace.pk)
    PromptTemplate.objects.for_workspace(workspace.pk).update(name="Ours")

    seed_workspace(workspace.pk)

    assert [one.name for one in PromptTemplate.objects.for_workspace(workspace.pk)] == ["Ours"]


def test_a_deleted_prompt_stays_deleted():
    workspace = WorkspaceFactory()
    seed_workspace(workspace.pk)
    PromptTemplate.objects.for_workspace(workspace.pk).delete()

    seed_workspace(workspace.pk)

    assert not PromptTemplate.objects.for_workspace(workspace.pk).exists()
