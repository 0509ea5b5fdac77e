"""Prompt templates and their variants."""

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from core.fields import SchemaJSONField
from core.sharing import Share, SharedModel
from core.variants import Variant
from llm.choices import ModelKind
from llm.models import Model
from observability.levels import observability_level_field
from prompts.rendering import variables_of
from prompts.schemas import OutputSchema, PromptExamples, PromptMessages, PromptVariables, ResponseFormat

MAX_OUTPUT_TOKENS = 1_000_000  # far over what any model says; what is larger is a slip


class PromptCategory(models.TextChoices):
    GENERIC = "generic", _("Generic")
    RAG = "rag", _("RAG: gets question and context")


class PromptTemplate(SharedModel):
    """Instructions with variables."""

    SHARES_SLUGS = True

    category = models.CharField(
        _("category"), max_length=20, choices=PromptCategory.choices, default=PromptCategory.GENERIC
    )

    class Meta(SharedModel.Meta):
        abstract = False
        verbose_name = _("prompt template")


class PromptTemplateShare(Share):
    tool = models.ForeignKey(PromptTemplate, on_delete=models.CASCADE, related_name="shares")

    class Meta(Share.Meta):
        abstract = False


class PromptVariant(Variant):
    """The messages of a prompt template and the model's settings."""

    CONFIG_FIELDS: ClassVar[tuple[str, ...]] = (
        "messages", "variables", "examples", "response_format", "output_schema",
        "model", "temperature", "top_p", "max_tokens", "observability_level",
    )  # fmt: skip

    parent = models.ForeignKey(
        PromptTemplate, on_delete=models.CASCADE, related_name="variants", verbose_name=_("prompt template")
    )
    messages = SchemaJSONField(
        _("messages"),
        schema=PromptMessages,
        default=list,
        help_text=_("A list of {role, content}; {{ name }} in the content is replaced by a variable, never evaluated."),
    )
    variables = SchemaJSONField(
        _("variables"),
        schema=PromptVariables,
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text=_(
            "Type (text, number, boolean, list, object), required or default, and a sample of each. "
            "A placeholder that is not listed takes a required text."
        ),
    )
    examples = SchemaJSONField(
        _("examples"),
        schema=PromptExamples,
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text=_("Pairs of {input, output}, sent as earlier turns behind the system's messages."),
    )
    response_format = models.CharField(
        _("response format"),
        max_length=20,
        choices=[(one.value, one.value) for one in ResponseFormat],
        default=ResponseFormat.TEXT.value,
        db_default=ResponseFormat.TEXT.value,
        help_text=_("With JSON, an answer that does not fit is sent back once; then the run fails, and says why."),
    )
    output_schema = SchemaJSONField(
        _("JSON schema"),
        schema=OutputSchema,
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text=_("What an answer in the format json_schema has to fit (JSON Schema 2020-12)."),
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
        _("longest answer (tokens)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_OUTPUT_TOKENS)],
        help_text=_("Empty: the vendor's default."),
    )
    observability_level = observability_level_field()

    class Meta(Variant.Meta):
        abstract = False
        verbose_name = _("prompt variant")

    def clean(self) -> None:
        super().clean()
        if self.model is not None and self.model.kind != ModelKind.CHAT:
            raise ValidationError({"model": ValidationError(_("This is no chat model."), code="kind")})
        if self.model is not None and self.model.is_extractive:
            text = _("This model only quotes passages and cannot follow a prompt. Choose one of a connected provider.")
            raise ValidationError({"model": ValidationError(text, code="extractive")})
        if (self.response_format == ResponseFormat.JSON_SCHEMA) != bool(self.output_schema):
            text = _("The format json_schema, and no other, takes a JSON schema.")
            raise ValidationError({"output_schema": ValidationError(text, code="schema_and_format")})

    @property
    def placeholders(self) -> list[str]:
        """Names of the placeholders in the messages, in order of appearance."""
        return variables_of(self.messages)
