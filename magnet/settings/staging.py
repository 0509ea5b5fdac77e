"""Production's checks under a name of its own."""

from magnet.settings.production import *
