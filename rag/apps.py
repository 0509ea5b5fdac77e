from django.apps import AppConfig


class RagConfig(AppConfig):
    name = "rag"
    verbose_name = "Retrieval and answers"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.seeds import SEEDS
        from llm.drafting import WAITING, Waiting
        from observability.budgets.targets import RUN_TARGETS
        from observability.choices import RunKind
        from rag.models import RagTool, RetrievalTool
        from rag.seeds import seed_tools
        from rag.selectors import served_without_vendor

        RUN_TARGETS.register(RunKind.RAG_TOOL, RagTool)
        RUN_TARGETS.register(RunKind.RETRIEVAL_TOOL, RetrievalTool)
        SEEDS.register("40-rag", seed_tools)
        WAITING.register("10-rag-tools", Waiting(RunKind.RAG_TOOL, served_without_vendor))
