"""Whoever loses what they run loses its open stream, by whatever door it came."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from core.access import Role
from core.api import watch
from core.variant_services import variant_publish
from llm.providers.connections import close_connections
from observability.models import Run
from observability.runs import live
from prompts.services import prompt_create, prompt_update
from prompts.tests.test_api_runs import Site

SAID = [{"role": "user", "content": "Hello"}]
PRIVATE = {"shared_with_everybody": False}
STALLING = [{"role": "system", "content": "Be slow."}]
DOORS = {
    "/api/v1/prompt-templates/halting/run": {"variables": {}, "messages": SAID},
    "/v1/chat/completions": {"model": "halting", "messages": SAID},
    "/v1/responses": {"model": "halting", "input": "Hello"},
}


class Halting(Site):
    """A site with the prompt `halting`, whose vendor says some words and then nothing more."""

    def __init__(self, scripted) -> None:
        super().__init__(scripted)
        self.halting = self.prompt_named("halting")

    def prompt_named(self, slug: str):
        model = self.provider.models.filter(slug="stall").first() or self.model("stall")
        variant = {"messages": STALLING, "model": model}
        prompt = prompt_create(principal=self.principal, values={"name": slug, "slug": slug}, variant=variant)
        variant_publish(prompt.variants.get(), actor=self.member.user)
        return prompt

    def withdraw(self, **values) -> None:
        prompt_update(self.halting, principal=self.principal, values={**PRIVATE, **values})

    def replace(self) -> None:
        """Another prompt, which everybody may run, has the name now."""
        self.withdraw(slug="halting-before")
        self.prompt_named("halting")


@pytest.fixture
async def site(transactional_db, scripted, monkeypatch):
    monkeypatch.setattr(watch, "CHECK_SECONDS", 0.1)
    yield await sync_to_async(Halting)(scripted)
    await live.shutdown()
    await close_connections()
    await sync_to_async(connections.close_all)()


async def opened(site: Halting, path: str, role: Role) -> "asyncio.Task[str]":
    key = await sync_to_async(site.key)(role)
    response = await AsyncClient().post(
        path,
        json.dumps({**DOORS[path], "stream": True}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert response.status_code == 200

    async def read() -> str:
        return b"".join([part async for part in response.streaming_content]).decode()

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.6)
    assert not reader.done()
    return reader


def last_of(text: str) -> dict:
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return dict(json.loads(lines[-1].removeprefix("data: ")))


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("loss", ["withdraw", "replace"])
async def test_a_withdrawn_share_ends_the_open_stream_and_no_other(site, path, loss):
    reader, viewers = await opened(site, path, Role.USER), await opened(site, path, Role.VIEWER)

    await sync_to_async(getattr(site, loss))()
    text = await asyncio.wait_for(reader, 5)

    assert "Half" in text
    assert "[DONE]" not in text
    last = last_of(text)
    if path.startswith("/api"):
        assert (last["problem"]["status"], last["problem"]["code"]) == (404, "not_found")
    elif "chat" in path:
        assert last["error"]["code"] == "model_not_found"
    else:
        assert (last["type"], last["response"]["error"]["magnet_code"]) == ("response.failed", "model_not_found")
    await asyncio.sleep(0.3)
    assert not viewers.done()  # sharing is no question for them
    viewers.cancel()
    await asyncio.gather(viewers, return_exceptions=True)
    if path.startswith("/v1"):
        ended = await sync_to_async(lambda: list(Run._unscoped.values_list("status", "finish_reason")))()
        assert ("cancelled", "caller_gone") in ended


@pytest.mark.parametrize("path", DOORS)
async def test_who_waits_for_a_whole_answer_gets_none_when_the_right_to_it_is_gone_meanwhile(site, path):
    await sync_to_async(site.provider.models.update)(identifier="steady")
    keys = [await sync_to_async(site.key)(role) for role in (Role.USER, Role.VIEWER)]
    waiting = [asyncio.create_task(whole(path, key)) for key in keys]
    await asyncio.sleep(0.6)

    await sync_to_async(site.withdraw)()
    refused, answered = await asyncio.wait_for(asyncio.gather(*waiting), 10)

    assert (refused.status_code, answered.status_code) == (404, 200)
    assert b"word" not in refused.content
    assert b"word word" in answered.content


async def whole(path: str, key: str):
    body = json.dumps({**DOORS[path], "stream": False})
    headers = {"Authorization": f"Bearer {key}"}
    return await AsyncClient().post(path, body, content_type="application/json", headers=headers)
