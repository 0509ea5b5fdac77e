"""Runs of prompt templates over HTTP, against a scripted vendor over HTTP."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.variant_services import variant_create_draft, variant_edit, variant_publish
from llm.providers.connections import close_connections
from llm.tests.factories import ModelFactory, ProviderFactory
from observability.models import Run, Trace, UsageRecord
from prompts.models import PromptTemplate
from prompts.services import prompt_create

SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{ text }}"}]


class Site:
    """A workspace with the published prompt `echo`, whose vendor is scripted."""

    def __init__(self, scripted) -> None:
        self.member = MembershipFactory(role=Role.OPERATOR)
        self.principal = principal_of(self.member)
        self.provider = ProviderFactory(workspace=self.member.workspace, base_url=scripted.url, api_key="sk-x" * 9)
        self.prompt = prompt_create(
            principal=self.principal,
            values={"name": "Echo", "slug": "echo"},
            variant={"messages": MESSAGES, "model": self.model("echo")},
        )
        variant_publish(self.prompt.variants.get(), actor=self.member.user)

    def model(self, identifier: str):
        return ModelFactory(provider=self.provider, slug=identifier, identifier=identifier)

    def published(self, **values):
        """A new variant of the prompt, published."""
        draft = variant_create_draft(self.prompt, actor=None, copy_of=self.prompt.variants.get(is_active=True))
        return variant_publish(variant_edit(draft, values=values), actor=None)

    def key(self, role: Role | None = None) -> str:
        member = self.member if role is None else MembershipFactory(workspace=self.member.workspace, role=role)
        return api_key_issue(user=member.user, workspace=member.workspace, name="test").text


@pytest.fixture
async def site(transactional_db, scripted):
    yield await sync_to_async(Site)(scripted)
    await close_connections()


async def run(site, body, role=None, slug="echo"):
    key = await sync_to_async(site.key)(role)
    return await AsyncClient().post(
        f"/api/v1/prompt-templates/{slug}/run",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )


async def publish(site, **values):
    return await sync_to_async(site.published)(**values)


async def test_a_run_answers_with_usage_and_leaves_a_run_a_trace_and_the_books(site):
    answer = (await run(site, {"variables": {"text": "one two"}})).json()

    assert (answer["kind"], answer["status"], answer["finish_reason"]) == ("prompt_template", "completed", "stop")
    assert (answer["content"], answer["output"], answer["model"]) == ("one two", None, "echo-2026")
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (4, 2)
    stored = await Run._unscoped.aget(pk=answer["id"])
    assert (stored.content, stored.answer) == ("one two", answer)
    assert stored.input == {"variables": {"text": "one two"}, "messages": []}
    assert await Trace._unscoped.filter(pk=answer["trace_id"], kind="prompt_template").aexists()
    assert await UsageRecord._unscoped.filter(run=stored, input_tokens=4, output_tokens=2).acount() == 1


async def test_a_stream_tells_the_same_answer(site):
    response = await run(site, {"variables": {"text": "one two three"}, "stream": True})

    frames = b"".join([part async for part in response.streaming_content]).decode().split("\n\n")
    told = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames if frame.startswith("id")]
    events = [(one["event"], json.loads(one["data"])) for one in told]
    names = [name for name, _ in events]
    assert (names[0], names[-1], set(names[1:-1])) == ("run.started", "run.completed", {"message.delta"})
    text = "".join(data["text"] for name, data in events if name == "message.delta")
    assert text == events[-1][1]["answer"]["content"] == "one two three"


async def test_examples_and_later_turns_stand_where_they_belong(site, scripted):
    await publish(site, examples=[{"input": "in", "output": "out"}])
    turns = [{"role": "assistant", "content": "A"}, {"role": "user", "content": "B"}]

    await run(site, {"variables": {"text": "now"}, "messages": turns})

    sent = [(one["role"], one["content"]) for one in scripted.calls_of("echo")[0].body["messages"]]
    assert sent == [
        ("system", "Be brief."), ("user", "in"), ("assistant", "out"), ("user", "now"), ("assistant", "A"),
        ("user", "B"),
    ]  # fmt: skip


async def test_an_answer_that_fits_the_schema_is_parsed(site, scripted):
    await publish(site, response_format="json_schema", output_schema=SCHEMA)

    answer = (await run(site, {"variables": {"text": '{"days": 28}'}})).json()

    assert (answer["output"], answer["repaired"]) == ({"days": 28}, False)
    asked = scripted.calls_of("echo")[0].body["response_format"]
    assert asked == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


async def test_an_answer_that_does_not_fit_is_sent_back_once(site, scripted):
    model = await sync_to_async(site.model)("json-second")
    await publish(site, response_format="json_object", model=model)

    answer = (await run(site, {"variables": {"text": "days?"}})).json()

    assert (answer["output"], answer["repaired"], answer["status"]) == ({"days": 28}, True, "completed")
    first, second = scripted.calls_of("json-second")
    assert (
        second.body["messages"][1:-2] == first.body["messages"][1:]
    )  # the first speaks of JSON until another one does
    assert second.body["messages"][-2] == {"role": "assistant", "content": "Sure! days are 28"}
    assert "it is no JSON" in second.body["messages"][-1]["content"]
    spent = sum(len(one["content"].split()) for call in (first, second) for one in call.body["messages"])
    assert answer["usage"]["input_tokens"] == spent


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"days": "many"}', "at $.days: 'many' is not of type 'integer'"),
        ("{}", "at $: 'days' is a required property"),
        ('{"days": NaN}', "NaN is no number"),
        ("[" * 5000, "nested too deeply"),
    ],
)
async def test_an_answer_that_never_fits_is_a_typed_error(site, scripted, text, why):
    """The second answer of an echo is the complaint itself, so the last complaint is about that."""
    await publish(site, response_format="json_schema", output_schema=SCHEMA)

    response = await run(site, {"variables": {"text": text}})

    assert (response.status_code, response.json()["code"]) == (502, "invalid_output")
    assert why in scripted.calls_of("echo")[1].body["messages"][-1]["content"]
    assert len(scripted.calls_of("echo")) == 2
    stored = await Run._unscoped.aget()
    assert (stored.status, stored.problem["code"]) == ("failed", "invalid_output")
    assert await UsageRecord._unscoped.filter(run=stored).acount() == 2


async def test_a_json_answer_that_was_cut_short_is_incomplete_and_not_sent_back(site, scripted):
    model = await sync_to_async(site.model)("length")
    await publish(site, response_format="json_object", model=model)

    answer = (await run(site, {"variables": {"text": "x"}})).json()

    assert (answer["status"], answer["finish_reason"], answer["output"]) == ("incomplete", "length", None)
    assert len(scripted.calls_of("length")) == 1


async def test_variables_that_do_not_fit_are_named_before_anything_is_spent(site, scripted):
    response = await run(site, {"variables": {"text": 5, "other": "x"}})

    assert response.status_code == 400
    assert {one["pointer"] for one in response.json()["errors"]} == {"/variables/text", "/variables/other"}
    assert not scripted.calls_of("echo")
    assert not await Run._unscoped.aexists()


async def test_a_prompt_without_a_model_says_what_to_do(site):
    await publish(site, model=None)

    response = await run(site, {"variables": {"text": "x"}})

    assert response.status_code == 409
    assert response.json()["detail"] == "Variant 2 has no chat model. Choose one in a draft and publish it."


async def test_a_user_runs_what_is_published_and_no_draft(site):
    await sync_to_async(variant_create_draft)(site.prompt, actor=None)
    hidden = await sync_to_async(prompt_create)(
        principal=site.principal, values={"name": "H", "slug": "hidden"}, variant={"messages": MESSAGES}
    )

    served = await run(site, {"variables": {"text": "x"}}, Role.USER)
    draft = await run(site, {"variables": {"text": "x"}, "variant": 2}, Role.USER)
    unpublished = await run(site, {"variables": {"text": "x"}}, Role.USER, hidden.slug)

    assert (served.status_code, draft.status_code, unpublished.status_code) == (200, 403, 404)


async def test_another_workspace_finds_no_such_prompt(site, scripted):
    stranger = await sync_to_async(MembershipFactory)(role=Role.ADMIN)
    key = await sync_to_async(api_key_issue)(user=stranger.user, workspace=stranger.workspace, name="x")

    for name in ("echo", str(site.prompt.pk)):
        response = await AsyncClient().post(
            f"/api/v1/prompt-templates/{name}/run",
            "{}",
            content_type="application/json",
            headers={"Authorization": f"Bearer {key.text}"},
        )
        assert response.status_code == 404
    assert not scripted.calls_of("echo")
    assert await PromptTemplate._unscoped.acount() == 1


@pytest.mark.parametrize("level", ["none", "metadata", "full"])
async def test_a_run_keeps_what_the_variant_says(site, level):
    await publish(site, observability_level=level)

    answer = (await run(site, {"variables": {"text": "one"}})).json()

    stored = await Run._unscoped.aget(pk=answer["id"])
    assert (answer["content"], stored.capture) == ("one", level)
