import json

import pytest
from django.core.management import CommandError, call_command

from accounts.tests.factories import principal_of
from core.access import Role
from rag.services import tool_update

QUESTION = "How many days of holiday do employees have?"


def ask(world, *arguments: str) -> None:
    call_command("ask", *arguments, "--workspace", "observatory", "--user", world.member.user.email)


def test_the_answer_streams_with_numbered_sources(world, capsys):
    ask(world, "rules-qa", QUESTION)

    told = capsys.readouterr().out
    answer, sources = told.split("\n[1] ")
    assert "27 days of holiday in a calendar year. [1]" in answer
    assert sources.startswith("Holiday\n    “Every employee of the observatory has 27 days of holiday")


def test_json_is_the_answer_object_and_nothing_else(world, capsys):
    ask(world, "rules-qa", QUESTION, "--json")

    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["resolution"]) == ("completed", "answered")
    assert answer["citations"][0]["title"] == "Holiday"


def test_what_the_sources_do_not_hold_is_said_without_sources(world, capsys):
    ask(world, "rules-qa", "Who won the football world championship in 1998?")

    assert capsys.readouterr().out.strip() == "The sources do not answer this question."


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing", QUESTION), "There is no RAG tool 'nothing' in the workspace 'observatory'."),
        (("rules-qa", QUESTION, "--variant", "7"), "7"),
        (("rules-qa", "  "), "The question is empty."),
    ],
)
def test_what_is_wrong_is_one_line(world, arguments, reason):
    with pytest.raises(CommandError) as refused:
        ask(world, *arguments)

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_user_asks_what_is_shared_with_them(world):
    ann = world.colleague(Role.USER)
    asking = ("ask", "rules-qa", QUESTION, "--workspace", "observatory", "--user", ann.user.email)
    call_command(*asking)
    values = {"shared_with_everybody": False}
    tool_update(world.tool, principal=principal_of(world.member), values=values)

    with pytest.raises(CommandError, match="There is no RAG tool 'rules-qa'"):
        call_command(*asking)
