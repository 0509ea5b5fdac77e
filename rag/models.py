"""Retrieval tools, RAG tools, their variants, and the citations of answers."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from core.models import WorkspaceScopedModel
from core.sharing import Share, SharedModel
from core.variants import Variant
from knowledge.models import Document, KnowledgeSource
from llm.choices import ModelKind
from llm.models import Model
from observability.levels import observability_level_field
from observability.models import Run
from prompts.models import PromptTemplate
from rag.choices import SearchMode

MAX_TOP_K = 50
MAX_RERANKED = 200


class RetrievalTool(SharedModel):
    """Query in, ranked passages out."""

    class Meta(SharedModel.Meta):
        abstract = False
        verbose_name = _("retrieval tool")


class RetrievalToolShare(Share):
    tool = models.ForeignKey(RetrievalTool, on_delete=models.CASCADE, related_name="shares")

    class Meta(Share.Meta):
        abstract = False


class RetrievalVariant(Variant):
    """Where a retrieval tool searches and how it ranks."""

    CONFIG_FIELDS: ClassVar[tuple[str, ...]] = (
        "sources", "mode", "top_k", "candidates", "dense_weight", "similarity_threshold", "rerank_model",
        "rerank_top_n", "neighbours", "observability_level",
    )  # fmt: skip

    parent = models.ForeignKey(
        RetrievalTool, on_delete=models.CASCADE, related_name="variants", verbose_name=_("retrieval tool")
    )
    sources: "models.ManyToManyField[KnowledgeSource, RetrievalVariantSource]" = models.ManyToManyField(
        KnowledgeSource,
        through="RetrievalVariantSource",
        related_name="+",
        verbose_name=_("knowledge sources"),
        help_text=_("Searched together in one question."),
    )
    mode = models.CharField(
        _("mode"),
        max_length=20,
        choices=SearchMode.choices,
        default=SearchMode.HYBRID,
        help_text=_("Hybrid found the right passage most often on every set that was measured."),
    )
    top_k = models.PositiveSmallIntegerField(
        _("passages"),
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_TOP_K)],
        help_text=_("How many passages are handed on (1 to 50; default 5)."),
    )
    candidates = models.PositiveSmallIntegerField(
        _("candidates"),
        default=100,
        validators=[MinValueValidator(10), MaxValueValidator(500)],
        help_text=_("How many passages each search offers for the fusion (10 to 500; default 100)."),
    )
    dense_weight = models.FloatField(
        _("weight of meaning"),
        default=0.5,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("0 counts words alone, 1 meaning alone; 0.5 measured best."),
    )
    similarity_threshold = models.FloatField(
        _("similarity threshold"),
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("Passages whose cosine similarity to the question is lower are dropped; 0 drops none."),
    )
    rerank_model = models.ForeignKey(
        Model,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="retrieval_variants",
        db_index=False,  # few variants name one, and a plain index would lock the table
        verbose_name=_("rerank model"),
        help_text=_(
            "Reads the best passages together with the question and orders them anew. Empty: they stay as found."
        ),
    )
    rerank_top_n = models.PositiveSmallIntegerField(
        _("passages to rerank"),
        default=30,
        db_default=30,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RERANKED)],
        help_text=_("How many of the found passages the rerank model reads (1 to 200; default 30); more cost more."),
    )
    neighbours = models.PositiveSmallIntegerField(
        _("neighbours"),
        default=0,
        validators=[MaxValueValidator(2)],
        help_text=_("Hand the model this many passages before and after each found one too (0 to 2)."),
    )
    observability_level = observability_level_field()

    class Meta(Variant.Meta):
        abstract = False
        verbose_name = _("retrieval variant")

    def clean(self) -> None:
        super().clean()
        if self.rerank_model is not None and self.rerank_model.kind != ModelKind.RERANK:
            message = _("'%(slug)s' is no rerank model.") % {"slug": self.rerank_model.slug}
            raise ValidationError({"rerank_model": ValidationError(message, code="invalid")})


class RetrievalVariantSource(models.Model):
    """A source that a retrieval variant searches; protects the source from deletion."""

    belongs_to = "variant"

    variant = models.ForeignKey(RetrievalVariant, on_delete=models.CASCADE, related_name="+")
    source = models.ForeignKey(KnowledgeSource, on_delete=models.PROTECT, related_name="retrieval_uses")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["variant", "source"], name="rag_source_once_per_variant")]

    def __str__(self) -> str:
        return f"{self.variant}"


class RagTool(SharedModel):
    """Question in, cited answer out."""

    SHARES_SLUGS = True

    header = models.CharField(_("header"), max_length=200, blank=True, help_text=_("Above the question, on the panel."))
    sample_questions = ArrayField(
        models.CharField(max_length=300),
        verbose_name=_("sample questions"),
        default=list,
        blank=True,
        help_text=_("Offered on the panel, one click each."),
    )

    class Meta(SharedModel.Meta):
        abstract = False
        verbose_name = _("RAG tool")


class RagToolShare(Share):
    tool = models.ForeignKey(RagTool, on_delete=models.CASCADE, related_name="shares")

    class Meta(Share.Meta):
        abstract = False


class RagVariant(Variant):
    """What a RAG tool answers from, with which instructions and model."""

    CONFIG_FIELDS: ClassVar[tuple[str, ...]] = (
        "retrieval_tool", "retrieval_variant", "prompt", "prompt_variant", "model", "observability_level",
    )  # fmt: skip

    parent = models.ForeignKey(RagTool, on_delete=models.CASCADE, related_name="variants", verbose_name=_("RAG tool"))
    retrieval_tool = models.ForeignKey(
        RetrievalTool, on_delete=models.PROTECT, related_name="rag_variants", verbose_name=_("retrieval tool")
    )
    retrieval_variant = models.PositiveIntegerField(
        _("pinned retrieval variant"),
        null=True,
        blank=True,
        help_text=_("Number of a variant of the retrieval tool; empty follows its active one."),
    )
    prompt = models.ForeignKey(
        PromptTemplate,
        on_delete=models.PROTECT,
        related_name="rag_variants",
        verbose_name=_("prompt template"),
        help_text=_("Gets the variables question and context."),
    )
    prompt_variant = models.PositiveIntegerField(
        _("pinned prompt variant"),
        null=True,
        blank=True,
        help_text=_("Number of a variant of the prompt template; empty follows its active one."),
    )
    model = models.ForeignKey(
        Model,
        on_delete=models.PROTECT,
        related_name="rag_variants",
        verbose_name=_("chat model"),
        help_text=_("'extractive' quotes your documents and needs no key; connect a provider for free wording."),
    )
    observability_level = observability_level_field()

    class Meta(Variant.Meta):
        abstract = False
        verbose_name = _("RAG variant")


class Citation(WorkspaceScopedModel):
    """A marker of an answer, resolved. The quote is kept here, so that it survives re-ingestion and deletion."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="citations")
    marker = models.PositiveSmallIntegerField()
    document = models.ForeignKey(Document, on_delete=models.SET_NULL, null=True, related_name="+")
    document_ref = models.UUIDField(help_text=_("The document's id, kept after its deletion."))
    chunk_ref = models.UUIDField(help_text=_("The chunk's id at the time of the answer."))
    title = models.CharField(max_length=500)
    url = models.CharField(max_length=2000, blank=True)
    page = models.PositiveIntegerField(null=True)
    heading_path = ArrayField(models.CharField(max_length=500), default=list)
    quote = models.TextField()
    char_start = models.PositiveIntegerField()
    char_end = models.PositiveIntegerField()
    support = models.FloatField(help_text=_("Share of the sentence's content words that the quote holds, 0 to 1."))
    verified = models.BooleanField()

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["run", "marker", "id"]

    def __str__(self) -> str:
        return f"[{self.marker}] {self.title}"
