import pytest

from core.exceptions import InvalidInput
from plugins.contracts import ChatMessage, MessageRole
from prompts.rendering import render, specs_of, values_for, variables_of


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


DECLARED = [
    {"name": "days", "type": "number", "required": True, "default": None},
    {"name": "polite", "type": "boolean", "required": False, "default": True},
    {"name": "tags", "type": "list", "required": False, "default": None},
    {"name": "who", "type": "object", "required": False, "default": None},
]
MESSAGES = [message("{{ name }} {{ days }} {{ polite }} {{ tags }}")]


def test_values_become_text_and_defaults_fill_in():
    values = values_for(specs_of(MESSAGES, DECLARED), {"name": "Zoë", "days": 2.5, "tags": ["a", "é"], "who": {"x": 1}})

    assert values == {"name": "Zoë", "days": "2.5", "polite": "true", "tags": '["a", "é"]', "who": '{"x": 1}'}


def test_an_optional_variable_without_a_value_is_empty():
    assert values_for(specs_of(MESSAGES, DECLARED), {"name": "Z", "days": 2})["tags"] == ""


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({"days": 1}, "/variables/name", "required"),
        ({"name": "Z", "days": "1"}, "/variables/days", "type"),
        ({"name": "Z", "days": True}, "/variables/days", "type"),
        ({"name": 5, "days": 1}, "/variables/name", "type"),
        ({"name": "Z", "days": 1, "polite": 1}, "/variables/polite", "type"),
        ({"name": "Z", "days": 1, "tags": "a"}, "/variables/tags", "type"),
        ({"name": "Z", "days": 1, "other": ""}, "/variables/other", "unknown"),
    ],
)
def test_what_does_not_fit_is_named(given, pointer, code):
    with pytest.raises(InvalidInput) as refused:
        values_for(specs_of(MESSAGES, DECLARED), given)

    assert [(one.pointer, one.code) for one in refused.value.errors] == [(pointer, code)]
    assert str(refused.value) == f"These variables of the prompt are not right: {pointer.split('/')[-1]}."


def test_variables_are_listed_once_in_order_of_appearance():
    assert variables_of([message("{{ b }} {{ a }}"), message("{{a}} {{ c_1 }} {{ C }}")]) == ["b", "a", "c_1"]
