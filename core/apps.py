from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core import checks  # noqa: F401  # registers them
        from core.integrity import INTEGRITY_CHECKS, secrets_at_rest, workspaces_of_rows
        from core.recurring import WORK
        from core.schedules import RECURRING

        for name, work in WORK.items():
            RECURRING.register(name, work)
        INTEGRITY_CHECKS.register("secrets", secrets_at_rest)
        INTEGRITY_CHECKS.register("workspaces", workspaces_of_rows)
