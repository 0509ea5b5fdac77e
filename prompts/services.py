"""Writes of prompt templates; their variants have the services of all variants."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.audit import delete_row, save_new
from core.variant_services import variant_create_draft
from core.versions import save_version
from prompts.models import PromptTemplate


@transaction.atomic
def prompt_create(
    *, principal: Principal, values: Mapping[str, Any], variant: Mapping[str, Any] | None = None
) -> PromptTemplate:
    """A new prompt template with its first draft. Raises ValidationError when the messages do not fit."""
    principal.require(Permission.MANAGE)
    prompt = PromptTemplate(workspace_id=principal.workspace_id, **values)
    save_new(prompt)
    variant_create_draft(prompt, actor=principal.user, values=variant or {})
    return prompt


def prompt_update(
    prompt: PromptTemplate, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> PromptTemplate:
    """Change the name, slug and texts for people; what changes answers stands in the variants."""
    principal.require(Permission.MANAGE)
    for name, value in values.items():
        setattr(prompt, name, value)
    return save_version(prompt, expected=expected, fields=list(values))


def prompt_delete(prompt: PromptTemplate, *, principal: Principal) -> None:
    """Delete the template with its variants. One that a RAG tool uses is protected (ProtectedError, a 409)."""
    principal.require(Permission.MANAGE)
    delete_row(prompt)
