"""What a rerank model gets, and what of its answer is believed."""

import math
from collections.abc import Sequence
from dataclasses import replace

from llm.models import Model
from llm.tokens import CHARACTERS_PER_TOKEN, estimate_tokens
from plugins.contracts import ProviderFailure, RerankRequest, RerankResponse, RerankScore, TokenUsage


def rerank_request(model: Model, query: str, documents: Sequence[str], top_n: int | None) -> RerankRequest:
    """Documents over the model's limit are cut; an empty one is sent as a blank, because vendors refuse the empty
    string."""
    longest = int(model.max_input_tokens * CHARACTERS_PER_TOKEN)
    return RerankRequest(model.identifier, query, tuple(text[:longest] or " " for text in documents), top_n)


def rerank_usage(request: RerankRequest, answer: RerankResponse) -> TokenUsage:
    """As the vendor counts, or an estimate: every document is read together with the query."""
    if not answer.usage.estimated:
        return answer.usage
    read = sum(map(estimate_tokens, request.documents)) + len(request.documents) * estimate_tokens(request.query)
    return replace(answer.usage, input_tokens=read)


def checked_scores(answer: RerankResponse, count: int) -> tuple[RerankScore, ...]:
    """Best first. Raises ProviderFailure for a document that was not sent or is scored twice, and for a score that
    is no number."""
    places = [one.index for one in answer.scores]
    if len(set(places)) < len(places) or any(not 0 <= place < count for place in places):
        raise ProviderFailure("bad_response", "The model scored documents that it was not sent.")
    if not all(math.isfinite(one.score) for one in answer.scores):
        raise ProviderFailure("bad_response", "The model sent scores that are no numbers.")
    return tuple(sorted(answer.scores, key=lambda one: -one.score))
