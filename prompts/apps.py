from django.apps import AppConfig


class PromptsConfig(AppConfig):
    name = "prompts"
    verbose_name = "Prompts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.seeds import SEEDS, WORKSPACE_SEEDS
        from llm.drafting import WAITING, Waiting
        from observability.budgets.targets import RUN_TARGETS
        from observability.choices import RunKind
        from prompts.models import PromptTemplate
        from prompts.seeds import seed_all, seed_workspace
        from prompts.selectors import served_without_model

        RUN_TARGETS.register(RunKind.PROMPT_TEMPLATE, PromptTemplate)
        SEEDS.register("20-prompts", seed_all)
        WORKSPACE_SEEDS.register("20-prompts", seed_workspace)
        WAITING.register("20-prompts", Waiting(RunKind.PROMPT_TEMPLATE, served_without_model))
