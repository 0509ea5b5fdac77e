from django.apps import AppConfig


class LlmConfig(AppConfig):
    name = "llm"
    verbose_name = "Models"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.doctor import DOCTOR_CHECKS
        from core.lifecycle import on_shutdown
        from core.seeds import SEEDS, WORKSPACE_SEEDS
        from llm.doctor import model_findings
        from llm.ollama import look_at_start
        from llm.pricing import price_entries
        from llm.providers.connections import close_connections
        from llm.providers.registry import register_built_in
        from llm.seeds import seed_all, seed_workspace
        from observability.tracing import PRICERS
        from plugins.registry import PLUGINS

        PRICERS.register("models", price_entries)
        register_built_in(PLUGINS)

        on_shutdown(close_connections)
        DOCTOR_CHECKS.register("70-models", model_findings)

        SEEDS.register("10-llm", seed_all)
        SEEDS.register("90-ollama", look_at_start)
        WORKSPACE_SEEDS.register("10-llm", seed_workspace)
