"""Providers (a vendor's endpoint with its credentials) and models (what can be called there)."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.fields import EncryptedJSONField, EncryptedTextField
from core.models import ConfigurationModel, TimestampedModel, WorkspaceScopedModel
from core.outbound import OutboundRefused, OutboundUse, check_url
from llm.choices import ModelKind, PriceSource, ProviderType, provider_types
from llm.providers.presets import PRESETS

LONGEST_CACHE_SECONDS = 30 * 24 * 3600
LONGEST_CHAIN = 5
"""Models of one chain of fallbacks, the first among them."""

# What decides which vector space an embedding model's vectors lie in, whoever serves it.
SPACE_FIELDS = ("identifier", "dimensions", "shortens")

# These parts go into host names and paths.
_PLAIN = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", _("Letters, digits, dots, hyphens and underscores."), "plain")


class Provider(ConfigurationModel):
    """A vendor's endpoint. Its credentials are write-only and encrypted for this row."""

    type = models.CharField(_("type"), max_length=30, choices=provider_types)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        help_text=_(
            "Such as https://llm.example.org/v1; empty: the vendor's own, and of OpenAI that of OPENAI_BASE_URL. "
            "Another one clears the credentials."
        ),
    )
    api_key = EncryptedTextField(
        _("API key"), blank=True, default="", help_text=_("Stored encrypted and never shown again.")
    )
    secret = EncryptedTextField(
        _("second secret"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Bedrock: the AWS secret access key. Vertex AI: the service account's key file, as JSON."),
    )
    headers = EncryptedJSONField(
        _("extra headers"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Sent with each request. Stored encrypted."),
    )
    access_key_id = models.CharField(
        _("access key id"),
        max_length=128,
        blank=True,
        default="",
        db_default="",
        validators=[_PLAIN],
        help_text=_("Bedrock: of AWS."),
    )
    region = models.CharField(
        _("region"),
        max_length=50,
        blank=True,
        default="",
        db_default="",
        validators=[_PLAIN],
        help_text=_("Bedrock, Vertex AI: us-east-1 and such."),
    )
    project = models.CharField(
        _("project"),
        max_length=100,
        blank=True,
        default="",
        db_default="",
        validators=[_PLAIN],
        help_text=_("Vertex AI: of Google Cloud."),
    )
    api_version = models.CharField(
        _("API version"),
        max_length=50,
        blank=True,
        default="",
        db_default="",
        validators=[_PLAIN],
        help_text=_("Azure OpenAI; empty: 2024-10-21."),
    )
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Off: its models are refused everywhere."))
    key_refused_at = models.DateTimeField(
        _("key refused"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("When the vendor first refused the key. A call that works, or a new key, takes it back."),
    )

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("provider")

    def clean(self) -> None:
        super().clean()
        if self.type == ProviderType.LOCAL and self.base_url:
            raise ValidationError({"base_url": ValidationError(_("The local provider has no address."), code="local")})
        preset = PRESETS.get(self.type)
        missing = [name for name in sorted(preset.requires if preset else ()) if not getattr(self, name)]
        if missing:
            message = _("A provider of this type needs it.")
            raise ValidationError({name: ValidationError(message, code="required") for name in missing})
        if self.base_url:
            try:
                check_url(self.base_url, OutboundUse.PROVIDER)
            except OutboundRefused as refused:
                raise ValidationError({"base_url": ValidationError(str(refused), code="outbound_refused")}) from refused


class Model(ConfigurationModel):
    """A usable model of one kind."""

    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="models", verbose_name=_("provider"))
    kind = models.CharField(_("kind"), max_length=20, choices=ModelKind.choices)
    identifier = models.CharField(_("identifier"), max_length=200, help_text=_("The vendor's name of the model."))
    dimensions = models.PositiveIntegerField(
        _("dimensions"),
        null=True,
        blank=True,
        help_text=_("Of an embedding model. A vector of another size is refused. Empty: taken from the first answer."),
    )
    shortens = models.BooleanField(
        _("can shorten"),
        default=False,
        help_text=_("The model is asked for vectors of this size; for models that can shorten theirs."),
    )
    max_input_tokens = models.PositiveIntegerField(
        _("input limit (tokens)"), default=8000, help_text=_("Longer texts are cut before they are sent.")
    )
    timeout_seconds = models.PositiveIntegerField(
        _("timeout (s)"), default=60, help_text=_("Longest wait for the first and for each next part of an answer.")
    )
    requests_per_minute = models.PositiveIntegerField(
        _("requests per minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("In any 60 s, retries too. Calls over it wait a little, then get a 429. Empty: no limit."),
    )
    tokens_per_minute = models.PositiveIntegerField(
        _("tokens per minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Input and output, in any 60 s: reserved before a call, corrected after it. Empty: no limit."),
    )
    fallback = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="fallback_of",
        db_index=False,  # an installation has few models, and a plain index would lock the table
        verbose_name=_("fallback"),
        help_text=_(
            "Asked when this one fails before its first word; it may have a fallback of its own. "
            "Of an embedding model: the same model at another provider."
        ),
    )
    cache_seconds = models.PositiveIntegerField(
        _("repeat answers (s)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_CACHE_SECONDS)],
        help_text=_(
            "How long an answer of a chat model is given again to exactly the same request, in this workspace alone. "
            "Empty: never."
        ),
    )
    json_mode = models.BooleanField(
        _("JSON mode"),
        default=True,
        db_default=True,
        help_text=_("The vendor keeps answers to JSON. Off: the model is only told to."),
    )
    json_schema = models.BooleanField(
        _("JSON schema"),
        default=True,
        db_default=True,
        help_text=_("The vendor keeps answers to a schema. Off: the model is told the schema, and its answer checked."),
    )
    tool_calling = models.BooleanField(
        _("tools"), default=True, db_default=True, help_text=_("Off: requests with tools are refused.")
    )
    vision = models.BooleanField(
        _("vision"), default=False, db_default=False, help_text=_("Off: requests with pictures are refused.")
    )
    reasoning = models.BooleanField(
        _("reasoning"),
        default=False,
        db_default=False,
        help_text=_("It thinks before it answers. Off: no effort is asked for."),
    )
    streaming = models.BooleanField(
        _("streaming"),
        default=True,
        db_default=True,
        help_text=_("Off: the answer is asked for whole, and shown when it is there."),
    )
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Off: refused everywhere, by name."))
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("Fills new drafts; one for each kind. It changes nothing published.")
    )

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("model")
        constraints = [
            *ConfigurationModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "kind"], condition=Q(is_default=True), name="llm_one_default_per_kind"
            ),
        ]

    def clean(self) -> None:
        super().clean()
        if self.slug in {f"default-{kind}" for kind in ModelKind.values}:
            raise ValidationError({"slug": ValidationError(_("This name stands for the default."), code="reserved")})
        if self.cache_seconds and self.kind != ModelKind.CHAT:
            text = _("Answers of chat models alone are repeated.")
            raise ValidationError({"cache_seconds": ValidationError(text, code="kind")})
        if self.fallback is not None:
            self._check_fallback(self.fallback)

    def _check_fallback(self, fallback: "Model") -> None:
        """Raise ValidationError for a chain that cannot answer instead of this model, or that bites its tail."""
        if fallback.workspace_id != self.workspace_id:
            raise _fallback_error(_("There is no such model here."), "does_not_exist")
        if fallback.kind != self.kind:
            raise _fallback_error(_("The fallback is of another kind."), "kind")
        if self.kind == ModelKind.EMBEDDING and not self.shares_space(fallback):
            raise _fallback_error(
                _("Its vectors lie in another space: identifier, dimensions and shortening must be the same."),
                "space",
            )
        chain, last = {self.pk}, fallback
        while last.pk not in chain and last.fallback is not None:
            chain.add(last.pk)
            last = last.fallback
        if last.pk in chain:
            raise _fallback_error(_("The chain of fallbacks comes back to itself."), "cycle")
        if len(chain) >= LONGEST_CHAIN:
            raise _fallback_error(_("A chain of fallbacks has five models at most."), "too_long")

    def shares_space(self, other: "Model") -> bool:
        """Whether vectors of both may be compared."""
        return all(getattr(self, name) == getattr(other, name) for name in SPACE_FIELDS)

    @property
    def is_extractive(self) -> bool:
        """The local answerer, which only quotes: it can neither chat nor follow a template."""
        return self.provider.type == ProviderType.LOCAL and self.kind == ModelKind.CHAT


def _price(label: Any, help_text: Any = "", **options: Any) -> "models.DecimalField[Any, Any]":
    """A price of 1,000,000 tokens."""
    return models.DecimalField(
        label, max_digits=14, decimal_places=6, validators=[MinValueValidator(0)], help_text=help_text, **options
    )


class ModelPrice(WorkspaceScopedModel, TimestampedModel):
    """What 1,000,000 tokens of a model cost from a moment on, until the next row. `llm.pricing` has the formula.

    Rows are added and never changed, so that what was once computed can be computed again. Of two with the same moment
    the later one counts: that is how a mistake is mended.
    """

    belongs_to = "model"

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="prices", verbose_name=_("model"))
    input = _price(_("input"), _("For 1,000,000 tokens; 0 where it costs nothing."))
    cached_input = _price(
        _("cached input"),
        _("For the part of the input that the vendor had in its cache. Empty: as the rest of the input."),
        null=True,
        blank=True,
    )
    output = _price(_("output"), _("Reasoning is a part of it. 0 for embedding models."), default=0)
    reasoning = _price(
        _("reasoning"),
        _("Only where the vendor asks another price for this part of the output. Empty: as the rest of it."),
        null=True,
        blank=True,
    )
    currency = models.CharField(
        _("currency"),
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"^[A-Z]{3}\Z", _("Three capital letters, such as USD."))],
    )
    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    source = models.CharField(
        _("source"), max_length=10, choices=PriceSource.choices, default=PriceSource.OPERATOR, editable=False
    )
    note = models.CharField(_("note"), max_length=300, blank=True, help_text=_("Where the figures come from."))

    class Meta(WorkspaceScopedModel.Meta):
        verbose_name = _("price")
        ordering = ["-valid_from", "-id"]
        indexes = [models.Index(fields=["model", "-valid_from", "-id"], name="llm_price_newest")]

    def __str__(self) -> str:
        return f"{self.model}: {self.input} / {self.output} {self.currency}"


def _fallback_error(text: Any, code: str) -> ValidationError:
    return ValidationError({"fallback": ValidationError(text, code=code)})


class CallCount(models.Model):
    """Calls and tokens of one model in one second, counted here while Valkey is away. `llm.limits` writes it."""

    model_id = models.UUIDField()
    second = models.PositiveBigIntegerField()
    requests = models.PositiveIntegerField()
    tokens = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model_id", "second"], name="llm_one_count_a_second")]

    def __str__(self) -> str:
        return f"{self.model_id} {self.second}"
