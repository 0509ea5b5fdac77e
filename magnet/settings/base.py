"""What every profile shares."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _

from core.outbound_allow import OutboundUse, allow_url, parse_allow
from magnet import environment as _env
from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.valkey import EmbeddedValkey
from magnet.settings.generics import allow_brackets
from magnet.settings.interface import *
from magnet.settings.mail import mail
from magnet.settings.network import (
    listed_origins,
    ollama_url,
    otlp_endpoint,
    otlp_headers,
    public_origin,
    same_site,
    trusted_proxies,
)

allow_brackets()

ENV = _env.load()
BASE_DIR = _env.BASE_DIR
MAGNET_ENV = ENV.text("MAGNET_ENV", "development")
DATA_DIR = _env.data_dir(ENV)

_data = DataDir(DATA_DIR)

# Who we are on the network
HOST = ENV.text("HOST", "127.0.0.1")
PORT = ENV.number("PORT", 8000, least=1, most=65535)
_public = public_origin(ENV, PORT)
_listed = listed_origins(ENV)
PUBLIC_URL = str(_public)
TRUSTED_PROXIES = trusted_proxies(ENV)
ALLOWED_HOSTS = list(dict.fromkeys([_public.host, "localhost", "127.0.0.1", "[::1]"]))
CSRF_TRUSTED_ORIGINS = list(dict.fromkeys(str(origin) for origin in [_public, *_listed]))
CSRF_FAILURE_VIEW = "magnet.pages.csrf_failure"
CORS_ALLOWED_ORIGINS = [str(origin) for origin in _listed]
CORS_ALLOW_CREDENTIALS = True
CORS_URLS_REGEX = r"^/(?:api|v1)/"
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id"),
    *("x-api-key", "x-csrftoken", "x-request-id", "x-workspace"),
]
CORS_EXPOSE_HEADERS = [
    *("ETag", "Location", "Retry-After", "X-Request-Id"),
    *("RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
]

# Cookies are Secure, and HSTS is sent, only when people come by https: a first login over plain HTTP has to work.
# The CSRF cookie is readable: scripts of our own site copy it into X-CSRFToken.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.is_https
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = same_site(_public, _listed)
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if _public.is_https else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# What Django would warn of in `check --deploy`. Without https, core.deployment says which setting mends it; the proxy
# redirects to https; other names below our domain are not ours to bind by HSTS. W001 to W003 look for three middleware
# by their names, and not for what is built on them (magnet.middleware).
_SAID_ELSEWHERE = ("W001", "W002", "W003", "W004", "W005", "W008", "W012", "W016", "W021")
SILENCED_SYSTEM_CHECKS = [f"security.{one}" for one in _SAID_ELSEWHERE]

# Secrets
SECRET_KEY = ENV.secret("SECRET_KEY") or _data.secret("secret_key") or os.urandom(32).hex()
ENCRYPTION_KEYS = (ENV.secret("ENCRYPTION_KEYS") or _data.secret("encryption_keys")).replace(",", " ").split()
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.LockingBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# The application
MAGNET_PLUGINS = ENV.items("MAGNET_PLUGINS")
OUR_APPS = ["core", "accounts", "observability", "plugins", "llm", "prompts", "knowledge", "rag", "doors", "panel"]
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "magnet.admin_app.MagnetAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "rest_framework",
    "django_filters",
    "corsheaders",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    *OUR_APPS,
    "magnet",
]
# What every answer carries comes first: an answer to a wrong Host or a refused form passes no further in.
MIDDLEWARE = [
    "core.middleware.RequestIdMiddleware",
    "magnet.csp.PermissionsPolicy",
    "magnet.middleware.InlineContentSecurityPolicy",
    "magnet.middleware.Security",
    "magnet.middleware.FrameOptions",
    "corsheaders.middleware.CorsMiddleware",
    "core.api.slashes.SlashMiddleware",
    "magnet.middleware.StaticFiles",
    "magnet.middleware.Sessions",
    "magnet.middleware.Common",
    "magnet.middleware.Csrf",
    "magnet.middleware.Authentication",
    "magnet.middleware.Messages",
]
ROOT_URLCONF = "magnet.urls"
WSGI_APPLICATION = "magnet.wsgi.application"
ASGI_APPLICATION = "magnet.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.current_workspace.workspace_context",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = ["magnet.formats"]
TIME_ZONE = "UTC"

# Static files and uploads
STATIC_URL = "/static/"
STATIC_ROOT: Path | None = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"] if (BASE_DIR / "static").is_dir() else []
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STORAGE_DIR = _data.files
MEDIA_ROOT = STORAGE_DIR
MAX_DOCUMENT_BYTES = 100 * 2**20
# What the documents of one workspace may take
QUOTA_STORAGE_BYTES = ENV.number("QUOTA_STORAGE_MB", 10_240, least=1) * 2**20
QUOTA_DOCUMENTS = ENV.number("QUOTA_DOCUMENTS", 100_000, least=1)
MAX_BODY_BYTES = 110 * 2**20
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20

# Database, broker, cache. The placeholder ports stand for servers that were never started.
EMBEDDED_DATABASE = not ENV.secret("DATABASE_URL")
EMBEDDED_BROKER = not ENV.secret("REDIS_URL")
_embedded_database = EmbeddedPostgres(_data).url or "postgresql://magnet@127.0.0.1:1/magnet"
DATABASES = {"default": _env.database(ENV.url("DATABASE_URL", _embedded_database, ("postgresql", "postgres")))}
REDIS_URL = ENV.url(
    "REDIS_URL", EmbeddedValkey(_data).url or "redis://127.0.0.1:1/0", ("redis", "rediss", "valkey")
).geturl()
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "magnet",
        # One that hangs is as good as one that is away.
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}
WEB_WORKERS = ENV.number("WEB_WORKERS", 1, least=1, most=64)
WORKER_CONCURRENCY = ENV.number("WORKER_CONCURRENCY", os.cpu_count() or 1, least=1, most=256)

VECTOR_DB = _env.vector_db(ENV.text("VECTOR_DB_CONFIG"))
HASTE = _env.haste(ENV)
JOB_LEASE_SECONDS = 60 / HASTE
RUN_LEASE_SECONDS = 60 / HASTE
# A pending job without a message in the broker is published again after so long.
UNPUBLISHED_SECONDS = 30 / HASTE
# Traces, events of runs and ended jobs are kept so long; 0 keeps them for good.
RETENTION_DAYS = ENV.number("RETENTION_DAYS", 90, most=36_500)

# Models and the world outside
OPENAI_API_KEY = ENV.secret("OPENAI_API_KEY")
OPENAI_BASE_URL = ENV.text("OPENAI_BASE_URL")
OPENAI_CHAT_MODEL = ENV.text("OPENAI_CHAT_MODEL")
OPENAI_EMBEDDING_MODEL = ENV.text("OPENAI_EMBEDDING_MODEL")
_mail = mail(ENV, _public.host)
EMAIL_HOST, EMAIL_PORT = _mail.host, _mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.starttls, _mail.ssl
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _mail.sender
ADMIN_EMAIL = ENV.text("ADMIN_EMAIL", "admin@localhost")
try:
    OUTBOUND_ALLOW = parse_allow(ENV.text("OUTBOUND_ALLOW"))
except ValueError as _error:
    raise _env.SettingError("OUTBOUND_ALLOW", str(_error).removeprefix("OUTBOUND_ALLOW: ")) from _error
try:
    OUTBOUND_ALLOW = allow_url(OUTBOUND_ALLOW, OutboundUse.PROVIDER, OPENAI_BASE_URL)
except ValueError as _error:
    raise _env.SettingError("OPENAI_BASE_URL", str(_error)) from _error
# A person's own machine may have an Ollama; elsewhere somebody has to name it
OLLAMA_URL = ollama_url(ENV, "127.0.0.1:11434" if MAGNET_ENV == "development" else "")
OUTBOUND_ALLOW = allow_url(OUTBOUND_ALLOW, OutboundUse.PROVIDER, OLLAMA_URL)

# Traces to an OpenTelemetry collector, off until an endpoint is set, which is then allowed for this use
OTEL_EXPORTER_OTLP_ENDPOINT = otlp_endpoint(ENV)
OTEL_EXPORTER_OTLP_HEADERS = otlp_headers(ENV)
OUTBOUND_ALLOW = allow_url(OUTBOUND_ALLOW, OutboundUse.TELEMETRY, OTEL_EXPORTER_OTLP_ENDPOINT)

# The API. Requests of one caller in a minute, by kind
RATES = {
    "reads": ENV.number("RATE_READS", 3000, least=1),
    "writes": ENV.number("RATE_WRITES", 600, least=1),
    "runs": ENV.number("RATE_RUNS", 300, least=1),
}
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.ApiKeyAuthentication",
        "accounts.api.authentication.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["core.api.permissions.HasPermission"],
    "DEFAULT_PAGINATION_CLASS": "core.api.pagination.CursorPages",
    "DEFAULT_FILTER_BACKENDS": [
        "core.api.filters.StrictFilterBackend",
        "core.api.filters.StrictSearch",
        "core.api.filters.StrictOrdering",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsers.StrictJSONParser"],
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "core.api.problems.exception_handler",
    "DEFAULT_METADATA_CLASS": "core.api.metadata.ViewMetadata",
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.MagnetSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Magnet",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "core.api.schema_parts.add_parts"],
    "ENUM_NAME_OVERRIDES": {
        "DocumentStatusEnum": "knowledge.choices.DocumentStatus",
        "JobStatusEnum": "observability.choices.JobStatus",
        "RunStatusEnum": "observability.choices.RunStatus",
        "SpanStatusEnum": "observability.choices.SpanStatus",
        "VariantStatusEnum": "core.variants.VariantStatus",
        "ModelKindEnum": "llm.choices.ModelKind",
        "RoleEnum": "core.access.Role",
        "ObservabilityLevelEnum": "observability.choices.ObservabilityLevel",
        "ApiKeyStatusEnum": ("active", "expired", "revoked"),
        "AnswerStatusEnum": ("running", "completed", "incomplete", "failed", "cancelled"),
        "RunKindEnum": "observability.choices.RunKind",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Errors to Sentry, off until a DSN is set; and logs: JSON lines, never prompts or secrets
SENTRY_DSN = ENV.secret("SENTRY_DSN")
logging.captureWarnings(capture=True)
# Somebody who types a command reads its answer, and no log of what it did well.
_usual_level = "WARNING" if Path(sys.argv[0]).name == "manage.py" else "INFO"
LOG_LEVEL = ENV.choice("LOG_LEVEL", _usual_level, ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "core.logging.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "propagate": False},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        # Two lines a task, whatever it does; what jobs do is logged where they are leased.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

MIGRATE_AT_START = True
FAULTS_ENABLED = False
DEBUG = False
