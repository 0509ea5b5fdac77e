from django.apps import AppConfig


class MagnetConfig(AppConfig):
    name = "magnet"
    verbose_name = "Magnet"

    def ready(self) -> None:
        from magnet import celery  # noqa: F401  # core.queue sends through it
