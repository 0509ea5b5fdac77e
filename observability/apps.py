from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    name = "observability"
    verbose_name = "Monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.doctor import DOCTOR_CHECKS
        from core.schedules import RECURRING
        from core.seeds import SEEDS
        from observability.recurring import WORK
        from observability.scheduling import schedules_ensure
        from observability.selectors import schedule_findings

        for name, work in WORK.items():
            RECURRING.register(name, work)
        SEEDS.register("90-schedules", schedules_ensure)
        DOCTOR_CHECKS.register("60-schedules", schedule_findings)
