import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError

from accounts.tests.factories import MembershipFactory, WorkspaceFactory, principal_of
from core.access import Role
from core.exceptions import Conflict, NotFound, PermissionRefused
from llm.catalogue import known_facts
from llm.choices import ModelKind
from llm.models import Model
from llm.selectors import default_model, model_by_slug
from llm.services import model_delete, model_update, provider_create, provider_delete, provider_update
from llm.tests.factories import ModelFactory, ProviderFactory
from prompts.models import PromptTemplate, PromptVariant

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(db):
    return WorkspaceFactory()


@pytest.fixture
def admin(workspace):
    return principal_of(MembershipFactory(role=Role.ADMIN, workspace=workspace))


def used_by_a_prompt(model: Model) -> None:
    """The first reverse relation at hand; a knowledge source counts alike."""
    template = PromptTemplate(workspace=model.workspace, name="P", slug="p")
    template.save()
    PromptVariant(workspace=model.workspace, parent=template, number=1, messages=[], model=model).save()


def test_a_form_that_has_changed_the_row_already_still_clears_the_key(admin, workspace, scripted, settings):
    provider = ProviderFactory(workspace=workspace, base_url=scripted.url, api_key="sk-old")
    settings.OUTBOUND_ALLOW = {"provider": scripted.allow["provider"] | {"127.0.0.1:9"}}
    provider.base_url = "http://127.0.0.1:9/v1"

    provider_update(provider, principal=admin, values={"base_url": "http://127.0.0.1:9/v1"})

    provider.refresh_from_db()
    assert provider.api_key.reveal() == ""


@pytest.mark.parametrize("field, value", [("identifier", "other"), ("dimensions", 64), ("shortens", True)])
def test_an_embedding_model_in_use_keeps_its_vector_space(admin, workspace, field, value):
    model = ModelFactory(provider__workspace=workspace, kind=ModelKind.EMBEDDING, dimensions=32)
    used_by_a_prompt(model)

    with pytest.raises(ValidationError) as caught:
        model_update(model, principal=admin, values={field: value})

    assert list(caught.value.error_dict) == [field]
    model.refresh_from_db()
    assert (model.identifier, model.dimensions, model.shortens) == ("ok", 32, False)


def test_what_does_not_touch_the_vectors_may_change(admin, workspace):
    model = ModelFactory(provider__workspace=workspace, kind=ModelKind.EMBEDDING)
    used_by_a_prompt(model)

    assert model_update(model, principal=admin, values={"name": "Renamed", "identifier": "ok"}).name == "Renamed"


def test_an_embedding_model_that_nothing_uses_may_change(admin, workspace):
    model = ModelFactory(provider__workspace=workspace, kind=ModelKind.EMBEDDING)

    assert model_update(model, principal=admin, values={"identifier": "other"}).identifier == "other"


def test_a_model_in_use_is_not_deleted(admin, workspace):
    model = ModelFactory(provider__workspace=workspace)
    used_by_a_prompt(model)

    with pytest.raises(ProtectedError):
        model_delete(model, principal=admin)


def test_services_ask_for_the_role(scripted):
    member = MembershipFactory(role=Role.OPERATOR)
    operator = principal_of(member)
    provider = ProviderFactory(workspace=member.workspace)

    with pytest.raises(PermissionRefused):
        provider_create(principal=operator, values={"name": "N", "slug": "n", "type": "openai"})
    with pytest.raises(PermissionRefused):
        provider_update(provider, principal=operator, values={"name": "N"})
    with pytest.raises(PermissionRefused):
        provider_delete(provider, principal=operator)


def test_defaults_are_found_by_kind_and_by_their_aliases():
    model = ModelFactory(is_default=True)
    workspace_id = model.workspace_id

    assert default_model(workspace_id, ModelKind.CHAT) == model
    assert model_by_slug(workspace_id, "default-chat") == model
    assert model_by_slug(workspace_id, model.slug) == model
    with pytest.raises(Conflict, match="no default embedding model"):
        model_by_slug(workspace_id, "default-embedding")
    with pytest.raises(NotFound):
        model_by_slug(workspace_id, "nothing")


def test_a_model_of_another_workspaces_provider_is_refused(admin):
    model = Model(
        workspace_id=admin.workspace_id, provider=ProviderFactory(), name="N", slug="n", kind="chat", identifier="ok"
    )

    with pytest.raises(ValidationError) as caught:
        model.full_clean()

    assert list(caught.value.error_dict) == ["provider"]


def test_the_catalogue_knows_a_model_by_identifier_and_kind():
    assert known_facts("text-embedding-3-small", ModelKind.EMBEDDING)["dimensions"] == 1536
    assert known_facts("text-embedding-3-small", ModelKind.CHAT) == {}
    assert known_facts("something", ModelKind.CHAT) == {}
