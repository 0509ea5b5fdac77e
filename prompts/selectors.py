"""Reads of prompt templates."""

from django.db.models import QuerySet

from core.access import Principal
from core.sharing import visible_to
from prompts.models import PromptTemplate


def prompts_to_run(principal: Principal) -> QuerySet[PromptTemplate]:
    """The prompt templates that the caller may know of and run."""
    return visible_to(PromptTemplate.objects.for_workspace(principal.workspace_id), principal)
