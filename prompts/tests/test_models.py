import pytest
from django.core.exceptions import ValidationError

from accounts.tests.factories import WorkspaceFactory
from core.variant_services import variant_create_draft
from llm.tests.factories import ModelFactory
from prompts.models import PromptTemplate

pytestmark = pytest.mark.django_db


@pytest.fixture
def template() -> PromptTemplate:
    row = PromptTemplate(workspace=WorkspaceFactory(), name="P", slug="p")
    row.save()
    return row


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "x", "name": "y"}],
        [{"role": "tool", "content": "x"}],
        [{"role": "user", "content": "x" * 100_001}],
        {"role": "user", "content": "x"},
        [{"role": "user", "content": "x"}] * 51,
    ],
)
def test_messages_that_do_not_fit_are_refused(template, messages):
    with pytest.raises(ValidationError) as caught:
        variant_create_draft(template, actor=None, values={"messages": messages})

    assert list(caught.value.error_dict) == ["messages"]
    assert not template.variants.exists()


def test_messages_are_stored_as_they_were_given(template):
    messages = [{"role": "system", "content": " {{ a }}\n"}, {"role": "user", "content": "{{ b }}"}]

    draft = variant_create_draft(template, actor=None, values={"messages": messages})

    draft.refresh_from_db()
    assert draft.messages == messages
    assert draft.placeholders == ["a", "b"]


def saved(template, **values):
    messages = [{"role": "user", "content": "{{ a }}"}]
    return variant_create_draft(template, actor=None, values={"messages": messages, **values})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("variables", {"variables": [{"name": "A b"}]}),
        ("variables", {"variables": [{"name": "a", "type": "date"}]}),
        ("variables", {"variables": [{"name": "a", "type": "number", "default": "x"}]}),
        ("variables", {"variables": [{"name": "a"}, {"name": "a"}]}),
        ("examples", {"examples": [{"input": "x"}]}),
        ("examples", {"examples": [{"input": "x", "output": ""}]}),
        ("output_schema", {"response_format": "json_schema"}),
        ("output_schema", {"output_schema": {"type": "object"}}),
        ("output_schema", {"response_format": "json_schema", "output_schema": {"type": "thing"}}),
        ("output_schema", {"response_format": "json_schema", "output_schema": {"$ref": "http://127.0.0.2/x"}}),
        ("output_schema", {"response_format": "json_schema", "output_schema": {"items": [{"pattern": "(a+)+$"}]}}),
        ("output_schema", {"response_format": "json_schema", "output_schema": {"title": "x" * 64_000}}),
        ("response_format", {"response_format": "xml"}),
    ],
)
def test_output_variables_and_examples_that_do_not_fit_are_refused(template, field, values):
    with pytest.raises(ValidationError) as refused:
        saved(template, **values)

    assert set(refused.value.message_dict) == {field}
    assert not template.variants.exists()


def test_what_is_declared_is_kept_with_its_defaults(template):
    draft = saved(template, variables=[{"name": "a", "default": "x"}], examples=[{"input": "i", "output": "o"}])

    assert draft.variables == [
        {"name": "a", "type": "text", "required": True, "default": "x", "sample": None, "description": ""}
    ]
    assert draft.examples == [{"input": "i", "output": "o"}]


@pytest.mark.parametrize(
    ("kind", "provider", "code"), [("embedding", "openai", "kind"), ("chat", "local", "extractive")]
)
def test_a_model_that_cannot_follow_a_prompt_is_refused(template, kind, provider, code):
    model = ModelFactory(provider__workspace=template.workspace, provider__type=provider, kind=kind)

    with pytest.raises(ValidationError) as refused:
        saved(template, model=model)

    assert [one.code for one in refused.value.error_dict["model"]] == [code]
