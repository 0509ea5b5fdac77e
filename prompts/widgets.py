"""The messages of a prompt as a form: a role and a text for each, and an empty one to add."""

from collections.abc import Mapping
from typing import Any

from django import forms

from plugins.contracts import MessageRole

ROLES = (
    (MessageRole.SYSTEM.value, "System: how to behave"),
    (MessageRole.USER.value, "User: what is asked"),
    (MessageRole.ASSISTANT.value, "Assistant: an example answer"),
)
MAX_MESSAGES = 50


class MessagesWidget(forms.Widget):
    """Reads and writes `name-0-role`, `name-0-content` and so on. A message without text is left out."""

    template_name = "admin/prompts/messages_widget.html"

    def get_context(self, name: str, value: Any, attrs: Mapping[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, dict(attrs or {}))
        given = [one for one in value or [] if isinstance(one, dict)]
        blank = {"role": MessageRole.USER.value if given else MessageRole.SYSTEM.value, "content": ""}
        context["messages"] = [*given, blank][:MAX_MESSAGES]
        context["roles"] = ROLES
        return context

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]] | None:
        found = [
            {"role": data[f"{name}-{n}-role"], "content": data.get(f"{name}-{n}-content", "").replace("\r\n", "\n")}
            for n in range(MAX_MESSAGES)
            if f"{name}-{n}-role" in data
        ]
        return [one for one in found if one["content"].strip()]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-0-role" not in data

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0" if id_ else id_


class MessagesField(forms.Field):
    """A list of {role, content}; the column's schema checks the rest."""

    widget = MessagesWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != (data or [])
