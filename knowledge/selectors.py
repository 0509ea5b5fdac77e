"""Reads of sources and their indexes."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from core.compiled import AnyOf, Compiled
from knowledge.models import KnowledgeSource
from knowledge.retrieval.search import SearchIndex
from knowledge.schemas import FilterFields


@Compiled
def _searchable(workspace_id: Any, ids: Any) -> QuerySet[KnowledgeSource]:
    rows = KnowledgeSource.objects.for_workspace(workspace_id).filter(AnyOf("pk", ids))
    live = rows.filter(active_index__dimensions__isnull=False)
    return live.select_related("active_index__model__provider").order_by("pk")


def search_indexes(workspace_id: uuid.UUID, source_ids: Sequence[uuid.UUID]) -> list[SearchIndex]:
    """The live indexes of these sources; a source without searchable passages is left out."""
    found = []
    for source in _searchable(workspace_id=workspace_id, ids=list(source_ids)):
        index = source.active_index
        assert index is not None
        assert index.dimensions is not None
        fields = {field.name: field.type for field in FilterFields.model_validate(source.filter_fields).root}
        found.append(
            SearchIndex(
                index_id=index.pk,
                source_id=source.pk,
                model=index.model,
                dimensions=index.dimensions,
                chunk_count=index.chunk_count,
                has_ann=index.has_ann,
                filter_fields=fields,
            )
        )
    return found
