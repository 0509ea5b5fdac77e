"""Kinds of providers and models."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class ProviderType(TextChoices):
    LOCAL = "local", _("Local: runs here, needs no key")
    OPENAI = "openai", _("OpenAI, or any endpoint that speaks its protocol")


class ModelKind(TextChoices):
    CHAT = "chat", _("Chat")
    EMBEDDING = "embedding", _("Embedding")
