"""What `manage.py doctor` says of models: keys that are refused, and breakers that are open."""

from collections.abc import Iterator

from django.db import DatabaseError

from core.doctor import Finding, Level
from llm import breaker
from llm.breaker import BreakerState
from llm.models import Model, Provider


def model_findings() -> Iterator[Finding]:
    """A line for each trouble, in whichever workspace; one line when there is none."""
    try:
        refused = list(Provider._unscoped.exclude(key_refused_at=None).select_related("workspace"))
        models = list(Model._unscoped.filter(is_active=True).select_related("provider", "workspace"))
    except DatabaseError:
        return
    known = breaker.standings(models)
    alone = [model for model in models if known[model.pk].state is not BreakerState.CLOSED]
    for provider in refused:
        name = f"Provider {provider.workspace.slug}/{provider.slug}"
        yield Finding(name, Level.WARNING, "the vendor refuses the key", "Enter a new key on the provider's page.")
    for model in alone:
        standing = known[model.pk]
        detail = f"its breaker is {standing.state.value} after {standing.failures} failures, at last {standing.kind}"
        remedy = "See whether the vendor answers; the model's page lets calls through at once."
        yield Finding(f"Model {model.workspace.slug}/{model.slug}", Level.WARNING, detail, remedy)
    if not refused and not alone:
        yield Finding("Models", Level.OK, f"{len(models)} are active, all of them answer or were not asked")
