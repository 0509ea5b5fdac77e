"""The OpenAPI description of a view, derived from what the view is: who may call it, what it can answer, how it looks.

Nothing of this is written by hand for each operation: rights come from the permissions that guard the view, problems
from its preconditions, keys and bodies, examples from `view.examples`.
"""

import re
from typing import Any, ClassVar

from django.db.models import Model
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.viewsets import ViewSetMixin

from core.access import Permission
from core.api import schema_parts as parts
from core.api.examples import NONE, Examples, as_recorded, is_reference, recorded
from core.api.idempotency import REPLAYED
from core.api.sse import CONTENT_TYPE as EVENT_STREAM
from core.models import VersionedModel

ALWAYS = {400, 401, 403, 406, 429, 503}
WITH_BODY = {413, 415}
STANDARD = {
    "list": "List {many}",
    "retrieve": "Read one {one}",
    "create": "Create one {one}",
    "partial_update": "Change one {one}",
    "destroy": "Delete one {one}",
}
VERSIONED = frozenset({"retrieve", "create", "partial_update", "publish", "activate"})

Described = dict[str, Any]


def needed_by(view: Any, action: str) -> Permission | tuple[str, str] | None:
    """What this action of a view takes: a permission, (role, scope) in words, or nothing but to be signed in."""
    needed: Permission | tuple[str, str] | None = view.permission_for(action) or view.own_rules.get(action)
    return needed


class MagnetSchema(AutoSchema):
    """The description of one operation.

    event: the form of one event of a stream. OpenAPI 3.1 has no word for that; what reads streams takes the schema of
    an event stream for it (3.2 calls it itemSchema).
    """

    view: Any  # a PrincipalMixin
    event: ClassVar[Described] = parts.reference("schemas", "Event")

    @property
    def action(self) -> str:
        """The name by which the view knows this operation."""
        return str(getattr(self.view, "action", None) or self.method.lower())

    @property
    def examples(self) -> Examples:
        found: Examples = getattr(self.view, "examples", NONE)
        return found

    @property
    def is_open(self) -> bool:
        """Whether it takes no credentials."""
        return not self.get_auth()

    @property
    def row_model(self) -> type[Model] | None:
        """What the view's rows are; None of a view without rows."""
        queryset = getattr(self.view, "queryset", None)
        model: type[Model] | None = getattr(self.view, "model", None) or getattr(queryset, "model", None)
        return model

    # --- names

    def get_tags(self) -> list[str]:
        """The resource: `Prompt templates` for all below /api/v1/prompt-templates/."""
        first = next(iter(self._tokenize_path()), "")
        return [first.replace("-", " ").capitalize().replace("Api ", "API ").replace("Rag ", "RAG ")]

    def get_operation_id(self) -> str:
        """`providers_create`, `prompt_templates_variants_publish`: the path in words, and the action behind it unless
        the path says it."""
        words = [word.replace("-", "_") for word in self._tokenize_path()]
        action = self.action if isinstance(self.view, ViewSetMixin) else self.method_mapping[self.method.lower()]
        is_verb = not self.path.endswith("/") and not self.path.endswith("}")
        if not is_verb and words[-1:] != [action]:
            words.append(action)
        return "_".join(words)

    def get_summary(self) -> str | None:
        model = self.row_model
        if self.action in STANDARD and model is not None:
            one, many = str(model._meta.verbose_name), str(model._meta.verbose_name_plural)
            return STANDARD[self.action].format(one=one, many=many)
        return re.split(r"(?<=\w)[.:;](?:\s|$)", self._own_doc(), maxsplit=1)[0].replace("\n", " ") or None

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """What it does, and what it takes to do it."""
        doc = self._own_doc() or super().get_description()
        return f"{doc}\n\n{self._access_in_words()}"

    def _own_doc(self) -> str:
        """What the action itself says, or its view where the action is one of the base classes' own."""
        handler = getattr(self.view, self.action, None)
        doc = getattr(handler, "__doc__", None) or ""
        return re.sub(r"\n +", "\n", doc).strip()

    def _access_in_words(self) -> str:
        access = self.access()
        if access["role"] == "nobody":
            return "Takes no credentials."
        role, scope = access["role"], access["scope"]
        who = {"member": "Takes anybody signed in", "superuser": "Takes a superuser"}.get(
            role, f"Takes the role `{role}` in the workspace"
        )
        return f"{who}; an API key needs the scope `{scope}`." if scope else f"{who}, or any API key."

    def access(self) -> dict[str, str]:
        """The least role (`member`: anybody signed in, `nobody`: no credentials) and the scope that a key needs."""
        if self.is_open:
            return {"role": "nobody", "scope": ""}
        needed = needed_by(self.view, self.action)
        if isinstance(needed, Permission):
            return {"role": needed.role.value, "scope": needed.scope.value}
        return {"role": needed[0], "scope": needed[1]} if needed else {"role": "member", "scope": ""}

    # --- what goes in

    def get_request_serializer(self) -> Any:
        """What the view says that it takes, where that is not its serializer."""
        described = getattr(self.view, "described_form", None)
        return (described(self.action) if described else None) or super().get_request_serializer()

    def get_operation(self, *args: Any, **kwargs: Any) -> Described | None:
        operation: Described | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        operation["x-magnet-access"] = self.access()
        named = [parts.reference("parameters", name) for name in self._shared_parameters()]
        if named:
            operation["parameters"] = [*operation.get("parameters", ()), *named]
        self._show_request(operation)
        return operation

    def _shared_parameters(self) -> list[str]:
        names = []
        if not self.is_open and needed_by(self.view, self.action) is not None:
            names.append("Workspace")
        precondition = self.view.preconditions.get(self.action)
        if precondition is not None:
            names.append("IfMatch" if precondition else "IfMatchOptional")
        if self._takes_key():
            names.append("IdempotencyKey")
        return names

    def _takes_key(self) -> bool:
        return self.method == "POST" and bool(self.view.once)

    def _resolve_path_parameters(self, variables: Any) -> list[Described]:
        resolved: list[Described] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        for parameter in resolved:
            if parameter["name"] == "id":
                parameter.update(self._reference())
            value = as_recorded(self.examples.path_of(self.action).get(parameter["name"]))
            if value is not None:
                parameter["example"] = value
        return resolved

    def _reference(self) -> Described:
        """`id` is an id; a slug, too, where the first resource of the path has slugs."""
        model: Any = getattr(self.view, "parent_model", None) or self.row_model
        value = self.examples.path_of(self.action).get("id")
        by_slug = model is None or hasattr(model, "slug") or not is_reference(value)
        if not by_slug:
            return {"schema": {"type": "string", "format": "uuid"}, "description": "Its id."}
        return {"schema": {"type": "string"}, "description": "Its id or slug."}

    def _show_request(self, operation: Described) -> None:
        """The example of the body, in the form that the view reads first."""
        example, content = self.examples.requests.get(self.action), operation.get("requestBody", {}).get("content", {})
        if example is not None and content:
            form = "application/json" if "application/json" in content else next(iter(content))
            content[form]["example"] = example

    # --- what comes out

    def _get_response_bodies(self, direction: Any = "response") -> Described:
        bodies: Described = super()._get_response_bodies(direction)
        for status, body in bodies.items():
            body["description"] = body.get("description") or "As asked."
            body["headers"] = {**parts.headers_of(*self._headers(status)), **body.get("headers", {})}
            self._show_answer(status, body)
            if EVENT_STREAM in body.get("content", {}):
                body["content"][EVENT_STREAM]["schema"] = self.event
        return {**bodies, **parts.problem_answers(self.problem_statuses() - {int(status) for status in bodies})}

    def _headers(self, status: str) -> list[str]:
        model = self.row_model
        names = ["X-Request-Id"]
        if self.action in VERSIONED and status != "204" and model is not None and issubclass(model, VersionedModel):
            names.append("ETag")
        if status == "202" and self.view.follows_job:
            names.append("Location")
        if self._takes_key():
            names.append(REPLAYED)
        return names if self.is_open else [*names, *parts.OF_RATES]

    def _show_answer(self, status: str, body: Described) -> None:
        answer = recorded().get(self.get_operation_id())
        if answer is None or str(answer.status) != status:
            return
        for form, content in body.get("content", {}).items():
            shown = answer.events if form == EVENT_STREAM else answer.body
            if shown is not None:
                content["example"] = shown

    def problem_statuses(self) -> set[int]:
        """The statuses of all problems that this operation can answer."""
        statuses = set(ALWAYS)
        if "{" in self.path or "Workspace" in self._shared_parameters():
            statuses.add(404)
        if self.method in {"POST", "PUT", "PATCH"}:
            statuses |= WITH_BODY
        if self.method != "GET" and not self.is_open:
            statuses.add(409)
        precondition = self.view.preconditions.get(self.action)
        if precondition is not None:
            statuses |= {412, 428} if precondition else {412}
        if self._takes_key():
            statuses.add(422)
        if self.action in self.view.calls_models:
            statuses.add(502)
        return statuses

    # --- forms

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """Any JSON value may be null without being said to be one of anything and null: null would be both."""
        schema = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(schema, dict) and schema.get("oneOf") == [{}, {"type": "null"}]:
            return {name: value for name, value in schema.items() if name != "oneOf"}
        return schema

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Described:
        """An answer holds all its fields; only plain serializers leave out what need not be given."""
        schema: Described = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "response" and isinstance(serializer, serializers.ModelSerializer):
            schema["required"] = sorted(schema.get("properties", {}))
        return schema
