"""Prompt templates and their variants."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from core.fields import SchemaJSONField
from core.models import ConfigurationModel
from core.variants import Variant
from llm.models import Model
from prompts.rendering import variables_of
from prompts.schemas import PromptMessages


class PromptCategory(models.TextChoices):
    GENERIC = "generic", _("Generic")
    RAG = "rag", _("RAG: gets question and context")


class PromptTemplate(ConfigurationModel):
    """Instructions with variables."""

    category = models.CharField(
        _("category"), max_length=20, choices=PromptCategory.choices, default=PromptCategory.GENERIC
    )

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("prompt template")


class PromptVariant(Variant):
    """The messages of a prompt template and the model's settings."""

    CONFIG_FIELDS: ClassVar[tuple[str, ...]] = ("messages", "model", "temperature", "top_p", "max_tokens")

    parent = models.ForeignKey(
        PromptTemplate, on_delete=models.CASCADE, related_name="variants", verbose_name=_("prompt template")
    )
    messages = SchemaJSONField(
        _("messages"),
        schema=PromptMessages,
        default=list,
        help_text=_("A list of {role, content}; {{ name }} in the content is replaced by a variable, never evaluated."),
    )
    model = models.ForeignKey(
        Model,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="prompt_variants",
        verbose_name=_("chat model"),
        help_text=_("For runs of this prompt alone; a RAG tool brings its own model."),
    )
    temperature = models.FloatField(
        _("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(2.0)],
        help_text=_("0 to 2; empty: the vendor's default."),
    )
    top_p = models.FloatField(
        _("top-p"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("0 to 1; empty: the vendor's default."),
    )
    max_tokens = models.PositiveIntegerField(
        _("longest answer (tokens)"), null=True, blank=True, help_text=_("Empty: the vendor's default.")
    )

    class Meta(Variant.Meta):
        abstract = False
        verbose_name = _("prompt variant")

    @property
    def variables(self) -> list[str]:
        """Names of the placeholders in the messages."""
        return variables_of(self.messages)
