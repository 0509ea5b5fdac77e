from django.apps import AppConfig


class RagConfig(AppConfig):
    name = "rag"
    verbose_name = "Retrieval and answers"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.seeds import SEEDS
        from rag.seeds import seed_tools

        SEEDS.register("40-rag", seed_tools)
