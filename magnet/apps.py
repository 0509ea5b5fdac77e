from django.apps import AppConfig
from django.conf import settings


class MagnetConfig(AppConfig):
    name = "magnet"
    verbose_name = "Magnet"

    def ready(self) -> None:
        from magnet import (
            celery,  # noqa: F401  # core.queue sends through it
            sentry,
        )
        from plugins.registry import PLUGINS

        sentry.start()
        PLUGINS.load(settings.MAGNET_PLUGINS)  # here, as this app comes last: the built-ins are registered
