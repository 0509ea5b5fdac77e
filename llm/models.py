"""Providers (a vendor's endpoint with its credentials) and models (what can be called there)."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.fields import EncryptedTextField
from core.models import ConfigurationModel
from core.outbound import OutboundRefused, OutboundUse, check_url
from llm.choices import ModelKind, ProviderType, provider_types


class Provider(ConfigurationModel):
    """A vendor's endpoint. The API key is write-only and encrypted for this row."""

    type = models.CharField(_("type"), max_length=30, choices=provider_types)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        help_text=_(
            "Such as https://llm.example.org/v1; empty: OPENAI_BASE_URL, else OpenAI's. Another one clears the key."
        ),
    )
    api_key = EncryptedTextField(
        _("API key"), blank=True, default="", help_text=_("Stored encrypted and never shown again.")
    )
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Off: its models are refused everywhere."))

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("provider")

    def clean(self) -> None:
        super().clean()
        if self.type == ProviderType.LOCAL and self.base_url:
            raise ValidationError({"base_url": ValidationError(_("The local provider has no address."), code="local")})
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

    @property
    def is_extractive(self) -> bool:
        """The local answerer, which only quotes: it can neither chat nor follow a template."""
        return self.provider.type == ProviderType.LOCAL and self.kind == ModelKind.CHAT
