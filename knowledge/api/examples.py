"""Examples of knowledge sources and documents."""

from core.api.examples import Examples

KNOWLEDGE_SOURCES = Examples(
    requests={
        "create": {
            "name": "Contracts",
            "slug": "contracts",
            "description": "Signed contracts and their annexes.",
            "filter_fields": [{"name": "department", "type": "text"}],
        },
        "partial_update": {"description": "Contracts since 2019."},
    },
    path={"id": "contracts"},
)

SOURCE_DOCUMENTS = Examples(
    requests={
        "create": {
            "title": "Parking",
            "text": "The car park behind the house opens at 6:30. Visitors park in the first row.",
            "external_id": "parking",
            "metadata": {"department": "Facilities"},
        },
        "replace": {"title": "Canteen", "text": "Lunch is from 11:30 to 14:00."},
    },
    path={"id": "handbook", "external_id": "facilities/canteen"},
)

DOCUMENTS = Examples(path={"id": "knowledge_sources_documents_create#/document_id"})
