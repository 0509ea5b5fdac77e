"""The test suite: fixed secrets, cheap hashing, fault points on."""

import base64

from magnet.settings.base import *

SECRET_KEY = "the secret key of the tests, which protects nothing"  # noqa: S105 - protects nothing
ENCRYPTION_KEYS = [f"test:{base64.b64encode(b'k' * 32).decode()}"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
STATIC_ROOT = None
FAULTS_ENABLED = True

# Sessions that run side by side take a slot each (see conftest.py), with a database of its own.
DATABASES["default"]["TEST"] = {"NAME": f"test_magnet_{ENV.text('MAGNET_TEST_SLOT', '1')}", "TEMPLATE": "template1"}
