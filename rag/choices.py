"""Choices of retrieval and answers."""

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class SearchMode(TextChoices):
    HYBRID = "hybrid", _("Hybrid: meaning and words, fused")
    DENSE = "dense", _("Dense: meaning (embeddings) alone")
    LEXICAL = "lexical", _("Lexical: words (BM25) alone")


class Resolution(StrEnum):
    """How a question ended."""

    ANSWERED = "answered"
    NOT_ANSWERED = "not_answered"  # the passages hold no answer
    NO_RESULTS = "no_results"  # nothing passed the threshold


class SourceStatus(StrEnum):
    """What became of a cited passage since the answer."""

    CURRENT = "current"
    CHANGED = "changed"
    DELETED = "deleted"
