"""Reads of prompt templates."""

from django.db.models import QuerySet

from core.access import Permission, Principal
from prompts.models import PromptTemplate


def prompts_to_run(principal: Principal) -> QuerySet[PromptTemplate]:
    """The prompt templates that the caller may run: a viewer all, a user those with a published variant."""
    prompts = PromptTemplate.objects.for_workspace(principal.workspace_id)
    return prompts if principal.allows(Permission.READ) else prompts.filter(variants__is_active=True)
