"""One namespace of slugs for everything that /v1 names by slug alone."""

import pytest
from django.core.exceptions import ValidationError

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from doors.errors import UnknownModel
from doors.targets import find_target, listed
from llm.models import Model
from magnet.tests.admin_world import World, url
from prompts.models import PromptTemplate
from prompts.services import prompt_create, prompt_update
from rag.models import RagTool
from rag.services import tool_update

MESSAGES = {"messages": [{"role": "user", "content": "Say {{ what }}"}]}


def stored(made: World, kind):
    """The row as it is stored; the world's own is shared by all tests."""
    return kind._unscoped.get(pk=made[kind].pk)


def test_a_slug_of_another_kind_is_refused_in_services_api_and_admin(north: World, client):
    taken = north[RagTool].slug

    with pytest.raises(ValidationError) as refused:
        prompt_create(principal=north.principal, values={"name": "x", "slug": taken}, variant=MESSAGES)
    assert refused.value.error_dict["slug"][0].code == "slug_taken"
    with pytest.raises(ValidationError):
        prompt_update(stored(north, PromptTemplate), principal=north.principal, values={"slug": taken})
    with pytest.raises(ValidationError) as reserved:
        tool_update(stored(north, RagTool), principal=north.principal, values={"slug": "default-chat"})
    assert reserved.value.error_dict["slug"][0].code == "reserved"
    client.force_login(north.principal.user)
    body = {"name": "x", "slug": taken, "variant": MESSAGES}
    answer = client.post("/api/v1/prompt-templates/", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0] == {
        "pointer": "/slug",
        "code": "slug_taken",
        "detail": "A RAG tool has this slug; prompt templates, RAG tools and agents share theirs.",
    }
    row = PromptTemplate.objects.for_workspace(north.workspace.pk).get(slug=f"{north.marker}-prompt")
    page = client.post(url("change", row), {"name": "x", "slug": taken})
    assert b"has this slug" in page.content


def test_other_workspaces_have_slugs_of_their_own(north: World, south: World):
    prompt_create(principal=south.principal, values={"name": "x", "slug": north[RagTool].slug}, variant=MESSAGES)


def test_rows_that_clashed_before_can_be_edited_and_named_by_prefix(north: World):
    tool, prompt = north[RagTool], PromptTemplate.objects.for_workspace(north.workspace.pk).get(slug="north-prompt")
    PromptTemplate._unscoped.filter(pk=prompt.pk).update(slug=tool.slug)
    prompt.refresh_from_db()

    prompt_update(prompt, principal=north.principal, values={"name": "Another name"})

    assert find_target(north.principal, tool.slug).row == tool
    assert find_target(north.principal, f"prompt:{tool.slug}").row == prompt
    names = [line.id for line in listed(north.principal)]
    assert {tool.slug, f"prompt:{tool.slug}"} <= set(names)
    assert len(names) == len(set(names))


def test_the_list_holds_nothing_of_another_workspace(north: World, south: World):
    member = MembershipFactory(workspace=south.workspace, role=Role.ADMIN)

    assert not [line.id for line in listed(principal_of(member)) if north.marker in line.id]


def test_what_is_not_published_is_not_listed(north: World):
    draft = prompt_create(principal=north.principal, values={"name": "x", "slug": "only-a-draft"}, variant=MESSAGES)

    assert draft.slug not in {line.id for line in listed(north.principal)}


def test_the_list_takes_the_same_queries_for_many(north: World, django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        list(listed(north.principal))


SPELLINGS = [str, "urn:uuid:{}".format, "{{{}}}".format, lambda pk: pk.hex, lambda pk: str(pk).upper()]


@pytest.mark.parametrize("spelled", SPELLINGS, ids=["plain", "urn", "braces", "hex", "capitals"])
def test_an_id_is_found_in_all_its_spellings(north: World, spelled):
    tool, model = stored(north, RagTool), stored(north, Model)

    assert find_target(north.principal, spelled(tool.pk)).row == tool
    assert find_target(north.principal, f"model:{spelled(model.pk)}").row == model


@pytest.mark.parametrize("odd", ["0-123456789ab7def8123456789abcdef", "0x123456789ab7def8123456789abcde", "{" * 9])
def test_what_only_looks_like_an_id_is_nobodys(north: World, odd):
    with pytest.raises(UnknownModel):
        find_target(north.principal, odd)
