"""A connected chat model is offered for the tools that have the local one or none: one click makes drafts of them."""

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.tests.factories import MembershipFactory
from core.access import Role
from core.exceptions import Conflict
from core.tests.at_once import twice_at_once
from core.variant_services import variant_create_draft, variant_publish
from llm import breaker
from llm.drafting import DraftState, drafts_create, offer_of
from llm.models import Model, Provider
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_api import client_as
from magnet.tests.admin_world import signed_in, url, world
from plugins.contracts import ProviderFailure
from prompts.models import PromptTemplate
from rag.models import RagTool

pytestmark = pytest.mark.django_db

BUTTON = "Use Cloud chat in"


def chat_model(made, **fields) -> Model:
    provider = fields.pop("provider", None) or ProviderFactory(workspace=made.workspace, slug="cloud", api_key="sk-x")
    return ModelFactory(provider=provider, name="Cloud chat", slug="cloud-chat", **fields)


def served(made) -> list:
    return [
        (tool.variants.get(is_active=True).pk, tool.variants.count()) for tool in (made[RagTool], made[PromptTemplate])
    ]


def page(made, role: Role, name: str, *args) -> str:
    client = signed_in(MembershipFactory(workspace=made.workspace, role=role).user)
    return client.get(reverse(name, args=args)).content.decode()


def test_one_call_makes_a_draft_for_each_tool_and_serves_what_was_served(north):
    model, before = chat_model(north), served(north)
    api = client_as(Role.OPERATOR, north.workspace)

    offered = api.get("/api/v1/models/cloud-chat/offered-drafts").json()["results"]
    made = api.post("/api/v1/models/cloud-chat/make-drafts").json()["results"]
    again = api.post("/api/v1/models/cloud-chat/make-drafts").json()["results"]

    assert [(one["kind"], one["slug"], one["state"], one["variant"]) for one in offered] == [
        ("rag_tool", "north-qa", "none", None),
        ("prompt_template", "north-prompt", "none", None),
    ]
    assert [(one["state"], one["variant"]) for one in made] == [("created", 2)] * 2
    assert [(one["state"], one["variant"]) for one in again] == [("exists", 2)] * 2
    assert served(north) == [(pk, 2) for pk, _count in before]
    for tool in (north[RagTool], north[PromptTemplate]):
        active, draft = tool.variants.get(is_active=True), tool.variants.get(status="draft")
        assert draft.model == model
        assert {**draft.config(), "model": None} == {**active.config(), "model": None}
        events = AuditEvent.objects.filter(object_id=draft.pk)
        assert [event.action for event in events] == ["create"]
        assert events[0].workspace_id == north.workspace.pk


def test_a_draft_of_somebody_else_stays_as_it_is(north):
    chat_model(north)
    own = variant_create_draft(north[RagTool], actor=None, values={"note": "mine"})

    told = client_as(Role.OPERATOR, north.workspace).post("/api/v1/models/cloud-chat/make-drafts").json()["results"]

    own.refresh_from_db()
    assert [(one["state"], one["variant"]) for one in told] == [("other", 2), ("created", 2)]
    assert (own.note, own.version, own.model.provider.type) == ("mine", 1, "local")


def test_a_tool_that_answers_with_a_vendor_waits_for_nothing(north):
    model = chat_model(north)
    for one in drafts_create(model, principal=north.principal):
        variant_publish(one.tool.variants.get(status="draft"), actor=None)  # type: ignore[attr-defined]

    assert offer_of(north.workspace.pk) is None
    assert drafts_create(model, principal=north.principal) == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "embedding"}, "chat model of a connected provider"),
        ({"is_active": False}, "not active"),
    ],
)
def test_a_model_that_could_not_answer_is_refused_and_not_offered(north, fields, words):
    chat_model(north, **fields)

    answer = client_as(Role.OPERATOR, north.workspace).post("/api/v1/models/cloud-chat/make-drafts")

    assert (answer.status_code, words in answer.json()["detail"]) == (409, True)
    assert offer_of(north.workspace.pk) is None
    assert [count for _pk, count in served(north)] == [1, 1]


def test_the_local_model_is_no_answer(north):
    local = Model.objects.for_workspace(north.workspace.pk).get(kind="chat")

    with pytest.raises(Conflict):
        drafts_create(local, principal=north.principal)


@pytest.mark.parametrize("change", [{"is_active": False}, {"key_refused_at": "2026-01-01T00:00Z"}])
def test_a_provider_that_cannot_answer_is_not_offered(north, change):
    model = chat_model(north)
    assert offer_of(north.workspace.pk) is not None

    Provider.objects.for_workspace(north.workspace.pk).filter(pk=model.provider_id).update(**change)

    assert offer_of(north.workspace.pk) is None


def test_the_default_is_offered_before_newer_ones_and_a_provider_its_own(north):
    default = chat_model(north, is_default=False)
    Model.objects.for_workspace(north.workspace.pk).filter(kind="chat").update(is_default=False)
    Model.objects.for_workspace(north.workspace.pk).filter(pk=default.pk).update(is_default=True)
    newer = ModelFactory(provider=ProviderFactory(workspace=north.workspace), slug="newer")

    assert offer_of(north.workspace.pk).model == default
    assert offer_of(north.workspace.pk, provider=newer.provider).model == newer


def test_a_model_whose_breaker_is_open_is_offered_behind_one_that_answers(north):
    working = chat_model(north)
    failing = ModelFactory(provider=working.provider, slug="failing")
    assert offer_of(north.workspace.pk).model == failing

    for _ in range(breaker.FAILURES):
        async_to_sync(breaker.failed)(failing, ProviderFailure("overloaded", "x"))

    assert offer_of(north.workspace.pk).model == working


def test_a_model_whose_drafts_wait_goes_before_newer_ones(north):
    first = chat_model(north)
    drafts_create(first, principal=north.principal)
    ModelFactory(provider=first.provider, slug="newer")

    offer = offer_of(north.workspace.pk)

    assert (offer.model, len(offer.made), offer.open) == (first, 2, ())


# --- the admin


def test_overview_provider_and_model_offer_it_and_the_button_does_it(north):
    model = chat_model(north)
    client = signed_in(MembershipFactory(workspace=north.workspace, role=Role.OPERATOR).user)
    pages = [reverse("admin:index"), url("change", model), url("change", model.provider)]

    for one in pages:
        assert f"{BUTTON} north qa and north prompt" in client.get(one).content.decode(), one
    answer = client.post(reverse("admin:llm_model_drafts", args=[model.pk]), {"back": "overview"}, follow=True)
    repeated = client.post(reverse("admin:llm_model_drafts", args=[model.pk]), follow=True)

    assert answer.redirect_chain == [("/admin/", 302)]
    assert "Drafts are made" in answer.content.decode()
    assert f'<a class="mg-link" href="{url("change", north[RagTool])}">north qa</a>' in answer.content.decode()
    assert repeated.redirect_chain == [(url("change", model), 302)]
    assert "These drafts were there already" in repeated.content.decode()
    for one in pages:
        text = client.get(one).content.decode()
        assert BUTTON not in text
        assert "Drafts that answer with Cloud chat wait" in text


def test_what_a_name_holds_is_shown_as_text(north):
    model = chat_model(north)
    RagTool.objects.for_workspace(north.workspace.pk).update(name="<script>alert(1)</script>{}%s")

    answer = north.client().post(reverse("admin:llm_model_drafts", args=[model.pk]), follow=True).content.decode()

    assert "<script>alert(1)" not in answer
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{}%s" in answer


def test_a_provider_without_a_model_says_to_choose_one(north):
    provider = ProviderFactory(workspace=north.workspace, slug="empty")

    text = north.client().get(url("change", provider)).content.decode()

    assert f'href="{reverse("admin:llm_model_add")}?provider={provider.pk}"' in text


def test_viewers_see_and_do_nothing_of_it_and_other_workspaces_have_none(north):
    model, south = chat_model(north), world("drafts-south")
    viewer = signed_in(MembershipFactory(workspace=north.workspace, role=Role.VIEWER).user)
    target = reverse("admin:llm_model_drafts", args=[model.pk])

    assert BUTTON not in page(north, Role.VIEWER, "admin:index")
    assert viewer.post(target).status_code == 403
    assert client_as(Role.VIEWER, north.workspace).post("/api/v1/models/cloud-chat/make-drafts").status_code == 403
    assert client_as(Role.OPERATOR, south.workspace).post(f"/api/v1/models/{model.pk}/make-drafts").status_code == 404
    assert south.client().post(target).status_code == 404
    assert BUTTON not in south.client().get("/admin/").content.decode()
    assert north.client().get(target).status_code == 403
    assert [count for _pk, count in served(north)] == [1, 1]
    assert [count for _pk, count in served(south)] == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_draft_of_each():
    made = world("drafts-twice")
    model = chat_model(made)

    both = twice_at_once(lambda: [one.state for one in drafts_create(model, principal=made.principal)])

    states = [state for told in both for state in told]
    assert len(states) == 4
    assert (states.count(DraftState.CREATED), states.count(DraftState.EXISTS)) == (2, 2)
    assert [count for _pk, count in served(made)] == [2, 2]
