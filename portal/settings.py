"""All settings, each read from one environment variable. What is unsafe refuses to start outside development.

docs/administrator.md lists every variable; a test fails when one is missing there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = False
DEVELOPMENT: bool = env.bool("WINNOW_DEVELOPMENT", default=False)
"""True for `make run` and tests on one machine: plain HTTP is allowed there, and nowhere else."""

SECRET_KEY: str = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEVELOPMENT:
        raise ImproperlyConfigured("Set SECRET_KEY to at least 50 random characters (manage.py up makes its own).")
    SECRET_KEY = "development-only-" + "0" * 40
if len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY is shorter than 50 characters; make a new one.")

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEVELOPMENT else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# ---- data -------------------------------------------------------------------------------------------------------------
VAR_DIR = Path(env.str("WINNOW_VAR", default=str(BASE_DIR / "var")))
ORIGINALS_DIR = Path(env.str("WINNOW_ORIGINALS", default=str(VAR_DIR / "originals")))
CLEAN_DIR = Path(env.str("WINNOW_CLEAN", default=str(VAR_DIR / "clean")))
SNAPSHOTS_DIR = Path(env.str("WINNOW_SNAPSHOTS", default=str(VAR_DIR / "snapshots")))
RUNS_DIR = Path(env.str("WINNOW_RUNS", default=str(VAR_DIR / "runs")))
BUNDLES_DIR = Path(env.str("WINNOW_BUNDLES", default=str(VAR_DIR / "bundles")))
BASELINE_BUNDLE = Path(env.str("WINNOW_BASELINE_BUNDLE", default=str(BASE_DIR / "inference" / "bundles" / "baseline")))

DATABASE_URL: str = env.str("DATABASE_URL", default="postgres:///winnow")
DATABASE_OWNER_URL: str = env.str("DATABASE_OWNER_URL", default=DATABASE_URL)
AS_OWNER: bool = env.bool("WINNOW_AS_OWNER", default=False)
"""Connect as the role that owns the tables: for `migrate` only."""
DATABASES: dict[str, Any] = {"default": environ.Env.db_url_config(DATABASE_OWNER_URL if AS_OWNER else DATABASE_URL)}
DATABASES["default"]["ENGINE"] = "django.db.backends.postgresql"
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASE_APP_ROLE: str = environ.Env.db_url_config(DATABASE_URL).get("USER", "")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL: str = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# ---- work -------------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "io"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
JOB_LEASE_SECONDS: int = env.int("WINNOW_JOB_LEASE_SECONDS", default=120)
JOB_BATCH: int = env.int("WINNOW_JOB_BATCH", default=16)
DEVICE: str = env.str("WINNOW_DEVICE", default="cpu")
TORCH_THREADS: int = env.int("WINNOW_TORCH_THREADS", default=max(1, os.cpu_count() or 1))

# ---- rules of the installation ----------------------------------------------------------------------------------------
SINGLE_ADMINISTRATOR: bool = env.bool("WINNOW_SINGLE_ADMINISTRATOR", default=False)
"""One person may both ask for a promotion and approve it; the page says so."""
READ_OWN_SITE_FIRST: bool = env.bool("WINNOW_READ_OWN_SITE_FIRST", default=False)
"""Readers may read images of their own site first: for an installation with one site; the page says so."""
MAX_FILE_BYTES: int = env.int("WINNOW_MAX_FILE_BYTES", default=60_000_000)
PARTIAL_DAYS: int = env.int("WINNOW_PARTIAL_DAYS", default=7)
"""How long a file that came only in part waits for its rest."""
TOKEN_DAYS: int = env.int("WINNOW_TOKEN_DAYS", default=90)
"""The longest life of an upload token."""
MAX_ARCHIVE_BYTES: int = env.int("WINNOW_MAX_ARCHIVE_BYTES", default=10_000_000_000)
"""Of a ZIP archive as it is sent, and of all that it holds together."""
SITE_BYTES: int = env.int("WINNOW_SITE_BYTES", default=1_000_000_000_000)
"""How much a site may store, unless its page says otherwise; 0 for no limit."""
SITE_FILES: int = env.int("WINNOW_SITE_FILES", default=2_000_000)
SITE_IN_WORK: int = env.int("WINNOW_SITE_IN_WORK", default=50_000)
"""Images of a site that may wait for the machines at once."""
FAULTS: str = env.str("WINNOW_FAULTS", default="")
"""Armed fault points, for chaos tests only."""
if FAULTS and not DEVELOPMENT:
    raise ImproperlyConfigured("WINNOW_FAULTS arms faults on purpose and works only with WINNOW_DEVELOPMENT=1.")

# ---- Django -----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "portal.core", "portal.audit", "portal.accounts", "portal.jobs", "portal.registry", "portal.holdings", "portal.images",
    "portal.analyses", "portal.labels", "portal.reviews", "portal.datasets", "portal.learning", "portal.pipeline", "portal.api",
    "portal.web",
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
    "django.contrib.staticfiles", "django.contrib.postgres", "django.contrib.humanize",
    "allauth", "allauth.account", "allauth.mfa", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect",
    "rest_framework", "drf_spectacular", "drf_spectacular_sidecar", "django_htmx", "pgtrigger", "csp",
]  # fmt: skip
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.accounts.middleware.RouteRules",
    "portal.accounts.middleware.Errors",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
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
                "csp.context_processors.nonce",
                "portal.web.context.navigation",
            ]
        },
    }
]
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_000_000
FILE_UPLOAD_MAX_MEMORY_SIZE = 0
FILE_UPLOAD_TEMP_DIR = None

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("WINNOW_STATIC", default=str(VAR_DIR / "static")))
NODE_MODULES = BASE_DIR / "node_modules"
STATICFILES_DIRS = [
    BASE_DIR / "portal" / "web" / "static",
    *[
        (f"vendor/{name}", NODE_MODULES / package / folder)
        for name, package, folder in [
            ("annotorious", "@annotorious/annotorious", "dist"),
            ("panzoom", "@panzoom/panzoom", "dist"),
            ("chart", "chart.js", "dist"),
            ("kurkle", "@kurkle/color", "dist"),
            ("uppy", "uppy", "dist"),
        ]
        if (NODE_MODULES / package / folder).is_dir()
    ],
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEVELOPMENT
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEVELOPMENT
"""On one machine the files are served from where they lie; elsewhere `collectstatic` gathers and hashes them."""

# ---- identity ---------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", **extra}
    for name, extra in [
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"OPTIONS": {"min_length": 10}}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    ]
]
ACCOUNT_ADAPTER = "portal.accounts.adapter.InvitationOnly"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEVELOPMENT
LOGIN_URL = "account_login"
CSRF_FAILURE_VIEW = "portal.accounts.middleware.csrf_failure"
LOGIN_REDIRECT_URL = "home"
_MAIL = "console" if DEVELOPMENT else "dummy"
# Mail holds one-time links: without a server it goes nowhere, and to the console only where its reader owns the machine
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default=f"django.core.mail.backends.{_MAIL}.EmailBackend")
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="winnow@localhost")

# ---- hardening --------------------------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEVELOPMENT
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = not DEVELOPMENT
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("WINNOW_BEHIND_PROXY", default=False) else None
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else 31_536_000
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Winnow",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    # a line that broke is no error of ours, and its messages name files
    "loggers": {"resumable_upload": {"level": "CRITICAL"}},
}
