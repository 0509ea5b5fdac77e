from django.apps import AppConfig


class LlmConfig(AppConfig):
    name = "llm"
    verbose_name = "Models"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.seeds import SEEDS, WORKSPACE_SEEDS
        from llm.seeds import seed_all, seed_workspace

        SEEDS.register("10-llm", seed_all)
        WORKSPACE_SEEDS.register("10-llm", seed_workspace)
