import pytest

from core.exceptions import InvalidInput
from plugins.contracts import ChatMessage, MessageRole
from prompts.rendering import render, variables_of


def message(content: str, role: str = "user") -> dict[str, str]:
    return {"role": role, "content": content}


def test_placeholders_are_replaced_by_their_values():
    rendered = render(
        [message("You are {{name}}.", "system"), message("{{ question }}")], {"name": "M", "question": "?"}
    )

    assert rendered == (ChatMessage(MessageRole.SYSTEM, "You are M."), ChatMessage(MessageRole.USER, "?"))


def test_a_placeholder_inside_a_value_is_text():
    values = {"context": "{{ question }} {{ secret }}", "question": "Why?"}

    assert (
        render([message("{{ context }} | {{ question }}")], values)[0].content == "{{ question }} {{ secret }} | Why?"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{% if x %}1{% endif %}",
        "{{ 7*7 }}",
        "{{ question.__class__ }}",
        "{{ question|upper }}",
        "{question}",
        "%(question)s",
        "$question ${question}",
        r"\1 \g<0>",
        "{{ }}",
    ],
)
def test_nothing_is_evaluated(text):
    assert render([message(text)], {"question": "Why?"})[0].content == text


def test_a_value_is_not_read_as_a_pattern():
    assert render([message("{{ a }}")], {"a": r"\1 \g<0> \\"})[0].content == r"\1 \g<0> \\"


def test_a_missing_value_is_named():
    with pytest.raises(InvalidInput, match=r"^The prompt needs values for: b, c\.$"):
        render([message("{{ a }} {{ b }}"), message("{{ c }}")], {"a": "1"})


def test_variables_are_listed_once_in_order_of_appearance():
    assert variables_of([message("{{ b }} {{ a }}"), message("{{a}} {{ c_1 }} {{ C }}")]) == ["b", "a", "c_1"]
