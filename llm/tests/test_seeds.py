import pytest

from accounts.models import SeedRecord
from accounts.services import workspace_create
from accounts.tests.factories import UserFactory, WorkspaceFactory
from llm.choices import ModelKind
from llm.models import Model, Provider
from llm.seeds import seed_all, seed_workspace
from llm.selectors import default_model

pytestmark = pytest.mark.django_db


def slugs(workspace) -> dict[str, bool]:
    return {model.slug: model.is_default for model in Model.objects.for_workspace(workspace.pk)}


def test_without_a_key_the_local_models_are_the_defaults():
    workspace = WorkspaceFactory(slug="default")

    seed_all()

    assert slugs(workspace) == {"all-minilm-l6-v2": True, "extractive": True}
    embedding = default_model(workspace.pk, ModelKind.EMBEDDING)
    assert (embedding.dimensions, embedding.max_input_tokens) == (384, 256)


def test_with_a_key_at_the_first_start_its_models_are_the_defaults(settings):
    settings.OPENAI_API_KEY = "sk-first-start-0123456789"
    settings.OPENAI_CHAT_MODEL = "my/chat:8b"
    workspace = WorkspaceFactory(slug="default")

    seed_all()

    assert slugs(workspace) == {
        "my-chat-8b": True,
        "text-embedding-3-small": True,
        "all-minilm-l6-v2": False,
        "extractive": False,
    }
    assert default_model(workspace.pk, ModelKind.EMBEDDING).dimensions == 1536
    provider = Provider.objects.for_workspace(workspace.pk).get(slug="openai")
    assert provider.api_key.reveal() == "sk-first-start-0123456789"


def test_a_key_that_comes_later_changes_no_default(settings):
    workspace = WorkspaceFactory(slug="default")
    seed_all()
    settings.OPENAI_API_KEY = "sk-later"

    seed_all()

    assert default_model(workspace.pk, ModelKind.CHAT).slug == "extractive"
    assert slugs(workspace)["gpt-4-1-mini"] is False


def test_the_platforms_key_goes_to_the_first_workspace_only(settings):
    settings.OPENAI_API_KEY = "sk-platform"
    other = WorkspaceFactory(slug="other")

    seed_workspace(other.pk)

    assert list(Provider.objects.for_workspace(other.pk).values_list("slug", flat=True)) == ["local"]


def test_a_custom_base_url_is_allowed_and_stored(settings):
    settings.OPENAI_API_KEY = "sk-custom"
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9109/v1"
    settings.OUTBOUND_ALLOW = {"provider": frozenset({"127.0.0.1:9109"})}
    workspace = WorkspaceFactory(slug="default")

    seed_all()

    assert Provider.objects.for_workspace(workspace.pk).get(slug="openai").base_url == "http://127.0.0.1:9109/v1"


def test_seeding_again_changes_nothing_that_people_changed():
    workspace = WorkspaceFactory()
    seed_workspace(workspace.pk)
    models = Model.objects.for_workspace(workspace.pk)
    models.filter(slug="extractive").update(name="Ours", is_default=False)
    models.filter(slug="all-minilm-l6-v2").delete()

    seed_workspace(workspace.pk)

    assert list(models.values_list("name", "is_default")) == [("Ours", False)]


def test_a_row_of_the_same_slug_is_left_alone():
    workspace = WorkspaceFactory()
    Provider(workspace=workspace, slug="local", name="Mine", type="local").save()

    seed_workspace(workspace.pk)

    assert Provider.objects.for_workspace(workspace.pk).get().name == "Mine"


def test_a_new_workspace_begins_with_models_and_prompts():
    workspace = workspace_create(actor=UserFactory(is_superuser=True), name="New", slug="new")

    names = set(SeedRecord.objects.filter(workspace=workspace).values_list("name", flat=True))
    assert {"llm.local", "prompts.rag-answer"} <= names
    assert slugs(workspace) == {"all-minilm-l6-v2": True, "extractive": True}
