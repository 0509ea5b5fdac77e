"""Kinds of providers and models."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from plugins.registry import PLUGINS


class ProviderType(TextChoices):
    """The built-in types that the code treats apart; `llm.providers.presets` has them all."""

    LOCAL = "local", _("Local: runs here, needs no key")
    OPENAI = "openai", _("OpenAI, or any endpoint that speaks its protocol")


def provider_types() -> list[tuple[str, str]]:
    """All types that can be chosen, those of plugins too."""
    return [(factory.name, factory.title) for factory in PLUGINS.providers]


class ModelKind(TextChoices):
    CHAT = "chat", _("Chat")
    EMBEDDING = "embedding", _("Embedding")
    RERANK = "rerank", _("Rerank")


class PriceSource(TextChoices):
    CATALOGUE = "catalogue", _("Shipped catalogue")
    OPERATOR = "operator", _("Entered here")
