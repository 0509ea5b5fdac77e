"""Lists of a prompt as forms: its messages, variables and examples, a row for each and an empty one to add."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from plugins.contracts import MessageRole
from prompts.rendering import VariableType

ROLES = (
    (MessageRole.SYSTEM.value, _("System: how to behave")),
    (MessageRole.USER.value, _("User: what is asked")),
    (MessageRole.ASSISTANT.value, _("Assistant: an example answer")),
)
TYPES = (
    (VariableType.TEXT.value, _("Text")),
    (VariableType.NUMBER.value, _("Number")),
    (VariableType.BOOLEAN.value, _("Yes or no")),
    (VariableType.LIST.value, _("List (JSON)")),
    (VariableType.OBJECT.value, _("Object (JSON)")),
)


class RowsWidget(forms.Widget):
    """Reads and writes `name-0-column`, `name-1-column` and so on. Rows without a text in `needed` are left out."""

    columns: ClassVar[tuple[str, ...]]
    needed: ClassVar[tuple[str, ...]]
    most: ClassVar[int]

    def blank(self, given: list[dict[str, Any]]) -> dict[str, Any]:
        """The empty row to fill in."""
        return dict.fromkeys(self.columns, "")

    def get_context(self, name: str, value: Any, attrs: Mapping[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, dict(attrs or {}))
        given = [one for one in value or [] if isinstance(one, dict)]
        context["rows"] = [*given, self.blank(given)][: self.most]
        return context

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, Any]]:
        rows = [
            {column: data.get(f"{name}-{n}-{column}", "").replace("\r\n", "\n") for column in self.columns}
            for n in range(self.most)
            if f"{name}-{n}-{self.columns[0]}" in data
        ]
        return [self.read(row) for row in rows if any(row[column].strip() for column in self.needed)]

    def read(self, row: dict[str, str]) -> dict[str, Any]:
        """What the texts of a row mean."""
        return row

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-0-{self.columns[0]}" not in data

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0" if id_ else id_


class MessagesWidget(RowsWidget):
    class Media:
        js = ("magnet/highlight.js",)

    template_name = "admin/prompts/messages_widget.html"
    columns = ("role", "content")
    needed = ("content",)
    most = 50

    def blank(self, given: list[dict[str, Any]]) -> dict[str, Any]:
        return {"role": MessageRole.USER.value if given else MessageRole.SYSTEM.value, "content": ""}

    def get_context(self, name: str, value: Any, attrs: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**super().get_context(name, value, attrs), "roles": ROLES}


class VariablesWidget(RowsWidget):
    template_name = "admin/prompts/variables_widget.html"
    columns = ("name", "type", "required", "default", "sample", "description")
    needed = ("name",)
    most = 50

    def get_context(self, name: str, value: Any, attrs: Mapping[str, Any] | None) -> dict[str, Any]:
        context = {**super().get_context(name, value, attrs), "types": TYPES}
        for row in context["rows"]:
            for column in ("default", "sample"):
                value = row.get(column)
                row[f"{column}_text"] = value if isinstance(value, str) else _json(value)
        return context

    def blank(self, given: list[dict[str, Any]]) -> dict[str, Any]:
        return {**super().blank(given), "type": VariableType.TEXT.value, "required": True}

    def read(self, row: dict[str, str]) -> dict[str, Any]:
        return {
            **row,
            "name": row["name"].strip(),
            "required": row["required"] == "on",
            "default": _value(row["default"], row["type"]),
            "sample": _value(row["sample"], row["type"]),
        }


class ExamplesWidget(RowsWidget):
    template_name = "admin/prompts/examples_widget.html"
    columns = ("input", "output")
    needed = ("input", "output")
    most = 20


class RowsField(forms.Field):
    """A list of objects; the column's schema checks it."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != (data or [])


def _value(text: str, kind: str) -> Any:
    """A text that does not fit its type stays one, which the column's schema refuses by name."""
    if not text or kind == VariableType.TEXT:
        return text or None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
