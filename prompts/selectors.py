"""Reads of prompt templates."""

import uuid

from django.db.models import QuerySet

from core.access import Principal
from core.sharing import visible_to
from prompts.models import PromptTemplate, PromptVariant


def prompts_to_run(principal: Principal) -> QuerySet[PromptTemplate]:
    """The prompt templates that the caller may know of and run."""
    return visible_to(PromptTemplate.objects.for_workspace(principal.workspace_id), principal)


def served_without_model(workspace_id: uuid.UUID) -> QuerySet[PromptVariant]:
    """Served variants that cannot run by themselves, as the local model follows no prompt."""
    return PromptVariant.objects.for_workspace(workspace_id).filter(is_active=True, model=None)
