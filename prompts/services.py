"""Writes of prompt templates; their variants have the services of all variants."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts.sharing import columns_of, shared_create, shared_update
from core.access import Permission, Principal
from core.audit import delete_row
from core.variant_services import variant_create_draft
from prompts.models import PromptTemplate


@transaction.atomic
def prompt_create(
    *, principal: Principal, values: Mapping[str, Any], variant: Mapping[str, Any] | None = None
) -> PromptTemplate:
    """A new prompt template with its first draft. Raises ValidationError when the messages do not fit."""
    principal.require(Permission.MANAGE)
    prompt = shared_create(PromptTemplate(workspace_id=principal.workspace_id, **columns_of(values)), values)
    variant_create_draft(prompt, actor=principal.user, values=variant or {})
    return prompt


def prompt_update(
    prompt: PromptTemplate, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> PromptTemplate:
    """Change the name, slug, texts for people and sharing; what changes answers stands in the variants."""
    principal.require(Permission.MANAGE)
    return shared_update(prompt, values, expected=expected)


def prompt_delete(prompt: PromptTemplate, *, principal: Principal) -> None:
    """Delete the template with its variants. One that a RAG tool uses is protected (ProtectedError, a 409)."""
    principal.require(Permission.MANAGE)
    delete_row(prompt)
