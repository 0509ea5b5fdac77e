"""Examples of jobs, runs and traces."""

from core.api.examples import Examples

JOBS = Examples(path={"id": "knowledge_sources_documents_by_external_id_replace#/job_id"})
RUNS = Examples(path={"id": "rag_tools_query#/id"})
TRACES = Examples(path={"id": "rag_tools_query#/trace_id"})
USAGE = Examples()

BUDGETS = Examples(
    requests={
        "create": {
            "name": "Whole workspace",
            "slug": "whole-workspace",
            "scope": "workspace",
            "period": "month",
            "unit": "tokens",
            "limit": "1000000",
        },
        "partial_update": {"warn_percent": 75},
    },
    path={"id": "whole-workspace"},
)
