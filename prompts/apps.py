from django.apps import AppConfig


class PromptsConfig(AppConfig):
    name = "prompts"
    verbose_name = "Prompts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.seeds import SEEDS, WORKSPACE_SEEDS
        from prompts.seeds import seed_all, seed_workspace

        SEEDS.register("20-prompts", seed_all)
        WORKSPACE_SEEDS.register("20-prompts", seed_workspace)
