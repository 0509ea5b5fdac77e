from django.apps import AppConfig


class PluginsConfig(AppConfig):
    name = "plugins"
    verbose_name = "Plugins"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.doctor import DOCTOR_CHECKS
        from plugins.doctor import plugin_findings

        DOCTOR_CHECKS.register("60-plugins", plugin_findings)
