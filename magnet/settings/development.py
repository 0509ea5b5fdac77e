"""A person's machine: generated secrets, and every name that reaches this machine is a good one."""

from magnet.settings.base import *

# Files come from where they lie; production serves what `magnet.static_files` gathered.
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}

# HOST=0.0.0.0 says that others on the network may come, by whatever name or address they know; PUBLIC_URL says which.
if HOST not in ("127.0.0.1", "localhost", "::1") and not ENV.text("PUBLIC_URL"):
    ALLOWED_HOSTS = ["*"]
