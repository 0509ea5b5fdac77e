from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    name = "observability"
    verbose_name = "Monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.doctor import DOCTOR_CHECKS
        from core.integrity import INTEGRITY_CHECKS
        from core.schedules import RECURRING
        from core.seeds import SEEDS
        from observability.budgets.standing import budget_findings
        from observability.integrity import jobs, runs, schedules
        from observability.otlp.exporter import findings
        from observability.recurring import WORK
        from observability.scheduling import schedules_ensure
        from observability.selectors import schedule_findings

        for name, work in WORK.items():
            RECURRING.register(name, work)
        SEEDS.register("90-schedules", schedules_ensure)
        for name, check in (("jobs", jobs), ("runs", runs), ("schedules", schedules)):
            INTEGRITY_CHECKS.register(name, check)
        DOCTOR_CHECKS.register("65-budgets", budget_findings)
        DOCTOR_CHECKS.register("60-schedules", schedule_findings)
        DOCTOR_CHECKS.register("65-otlp", findings)
