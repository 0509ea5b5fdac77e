"""Examples of retrieval tools, RAG tools and their runs."""

from core.api.examples import Examples

RETRIEVAL_TOOLS = Examples(
    requests={
        "create": {
            "name": "Word search",
            "slug": "word-search",
            "description": "The handbook, by words alone.",
            "variant": {"sources": ["handbook"], "mode": "lexical", "top_k": 5},
        },
        "partial_update": {"description": "The handbook, by its words."},
    },
    path={"id": "word-search"},
)

RETRIEVAL_VARIANTS = Examples(
    requests={"create": {"copy_of": 1, "note": "More passages"}, "partial_update": {"top_k": 12}},
    path={"id": "handbook-search", "n": 2, "a": 1, "b": 2},
    paths={"activate": {"n": 1}},
)

RETRIEVAL_SEARCH = Examples(
    requests={"post": {"query": "When does the car park open?", "top_k": 3}}, path={"id": "handbook-search"}
)

RAG_TOOLS = Examples(
    requests={
        "create": {
            "name": "House rules",
            "slug": "house-rules",
            "description": "Answers about the house.",
            "header": "Ask about the house",
            "sample_questions": ["When does the car park open?"],
            "variant": {"retrieval_tool": "handbook-search", "prompt": "rag-answer"},
        },
        "partial_update": {"header": "Ask the house"},
    },
    path={"id": "house-rules"},
)

RAG_VARIANTS = Examples(
    requests={
        "create": {"copy_of": 1, "note": "First variant of the search"},
        "partial_update": {"retrieval_variant": 1},
    },
    path={"id": "handbook-qa", "n": 2, "a": 1, "b": 2},
    paths={"activate": {"n": 1}},
)

RAG_QUERY = Examples(
    requests={"post": {"question": "When does the car park behind the house open?"}}, path={"id": "handbook-qa"}
)
