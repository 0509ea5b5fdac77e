import pytest
from django.core.exceptions import ValidationError

from accounts.tests.factories import WorkspaceFactory
from core.variant_services import variant_create_draft
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
    assert draft.variables == ["a", "b"]
