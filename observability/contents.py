"""Which attributes of a span are contents: as those of a run, they are for its author and for operators alone."""

from collections.abc import Mapping
from typing import Any

CONTENTS = frozenset(
    {
        "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.retrieval.query.text",
    }
)  # fmt: skip
DOCUMENTS = "gen_ai.retrieval.documents"
DOCUMENT_FIELDS = ("id", "score", "document_id")


def without_contents(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that everybody who sees the trace may see: ids, sizes, settings, figures."""
    kept = {name: value for name, value in attributes.items() if name not in CONTENTS}
    if DOCUMENTS in kept:
        kept[DOCUMENTS] = [{name: one[name] for name in DOCUMENT_FIELDS if name in one} for one in kept[DOCUMENTS]]
    return kept
