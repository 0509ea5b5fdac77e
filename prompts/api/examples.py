"""Examples of prompt templates."""

from core.api.examples import Examples

PROMPT_TEMPLATES = Examples(
    requests={
        "create": {
            "name": "Short summary",
            "slug": "short-summary",
            "description": "Three sentences at most.",
            "category": "generic",
            "variant": {
                "messages": [
                    {"role": "system", "content": "Summarise in at most {{ sentences }} sentences."},
                    {"role": "user", "content": "{{ text }}"},
                ],
                "variables": [
                    {"name": "sentences", "type": "number", "required": False, "default": 3},
                    {"name": "text", "type": "text", "description": "What is summarised."},
                ],
                "model": "gpt-5-mini",
            },
        },
        "partial_update": {"description": "Two sentences at most."},
    },
    path={"id": "short-summary"},
)

PROMPT_VARIANTS = Examples(
    requests={
        "create": {"copy_of": 1, "note": "Cooler"},
        "partial_update": {"temperature": 0.2},
    },
    path={"id": "rag-answer", "n": 2, "a": 1, "b": 2},
    paths={"activate": {"n": 1}},
)

PROMPT_RUN = Examples(
    requests={
        "post": {
            "variables": {"text": "The car park behind the house opens at 6:30. Visitors park in the first row."},
            "variant": 1,
        }
    },
    path={"id": "short-summary"},
)
