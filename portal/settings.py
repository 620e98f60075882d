"""All settings, each read from one environment variable. What is unsafe refuses to start outside development.

docs/administrator.md lists every variable; a test fails when one is missing there.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from portal.core import logs, safety, secret_files

try:
    secret_files.adopt(os.environ)
except ValueError as unreadable:
    raise ImproperlyConfigured(str(unreadable)) from unreadable
env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def _share(name: str, said: str, *, most: float) -> float | None:
    """A share from 0 to `most`; None where it is given empty."""
    given = said.strip()
    try:
        share = float(given) if given else None
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= most:
        raise ImproperlyConfigured(f"{name} is {given!r}: it must be a share from 0 to {most:g} (0.05 is 5 %).")
    return share


DEBUG = False
DEVELOPMENT: bool = env.bool("WINNOW_DEVELOPMENT", default=False)
"""True for `make run` and tests on one machine: plain HTTP is allowed there, and nowhere else."""

SECRET_KEY: str = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    SECRET_KEY = "development-only-" + "0" * 40

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEVELOPMENT else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# ---- data -------------------------------------------------------------------------------------------------------------
VAR_DIR = Path(env.str("WINNOW_VAR", default=str(BASE_DIR / "var")))
ORIGINALS_DIR = Path(env.str("WINNOW_ORIGINALS", default=str(VAR_DIR / "originals")))
CLEAN_DIR = Path(env.str("WINNOW_CLEAN", default=str(VAR_DIR / "clean")))
STORE: str = env.str("WINNOW_STORE", default="files")
"""Where originals and clean pictures are kept for good: `files`, in the two folders, or `s3`, of which the folders are a cache."""
S3_ENDPOINT: str = env.str("WINNOW_S3_ENDPOINT", default="")
S3_REGION: str = env.str("WINNOW_S3_REGION", default="us-east-1")
S3_ORIGINALS: str = env.str("WINNOW_S3_ORIGINALS", default="")
S3_CLEAN: str = env.str("WINNOW_S3_CLEAN", default="")
S3_PREFIX: str = env.str("WINNOW_S3_PREFIX", default="")
S3_KEY: str = env.str("AWS_ACCESS_KEY_ID", default="")
S3_SECRET: str = env.str("AWS_SECRET_ACCESS_KEY", default="")
S3_ENCRYPTION: str = env.str("WINNOW_S3_ENCRYPTION", default="")
CACHE_BYTES: int = env.int("WINNOW_CACHE_BYTES", default=20_000_000_000)
SNAPSHOTS_DIR = Path(env.str("WINNOW_SNAPSHOTS", default=str(VAR_DIR / "snapshots")))
RUNS_DIR = Path(env.str("WINNOW_RUNS", default=str(VAR_DIR / "runs")))
BUNDLES_DIR = Path(env.str("WINNOW_BUNDLES", default=str(VAR_DIR / "bundles")))
BASELINE_BUNDLE = Path(env.str("WINNOW_BASELINE_BUNDLE", default=str(BASE_DIR / "inference" / "bundles" / "baseline")))

DATABASE_URL: str = env.str("DATABASE_URL", default="postgres:///winnow")
DATABASE_OWNER_URL: str = env.str("DATABASE_OWNER_URL", default=DATABASE_URL)
AS_OWNER: bool = env.bool("WINNOW_AS_OWNER", default=False)
"""Connect as the role that owns the tables: for `migrate` only."""
DATABASES: dict[str, Any] = {"default": environ.Env.db_url_config(DATABASE_OWNER_URL if AS_OWNER else DATABASE_URL)}
DATABASES["default"]["ENGINE"] = "portal.core.postgres"
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASE_OWNER_ROLE: str = environ.Env.db_url_config(DATABASE_OWNER_URL).get("USER", "")
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
REVIEW_UNCALIBRATED: bool = env.bool("WINNOW_REVIEW_UNCALIBRATED", default=True)
"""Images of a device on which a model has not been calibrated, or of a site that has not earned a lower threshold, always go to readers
(METHODS 6); the image's page says so."""
MISSED_SHARE: float | None = _share("WINNOW_MISSED_SHARE", env.str("WINNOW_MISSED_SHARE", default="0.05"), most=0.5)
"""Of a site's non-regular images so many may pass unseen, unless its rule says otherwise; empty: the model's own threshold is trusted."""
AUDIT_SHARE: float = _share("WINNOW_AUDIT_SHARE", env.str("WINNOW_AUDIT_SHARE", default="0.03"), most=0.2) or 0.0
"""Of all images so many are read whatever the model says, drawn by chance, unless the site's rule says otherwise."""
MAX_FILE_BYTES: int = env.int("WINNOW_MAX_FILE_BYTES", default=60_000_000)
PARTIAL_DAYS: int = env.int("WINNOW_PARTIAL_DAYS", default=7)
TABLE_DAYS: int = env.int("WINNOW_TABLE_DAYS", default=14)
"""How long a table is held that nobody applies, and a row may wait for its file before its upload's page asks to remove it."""
SENDERS: int = env.int("WINNOW_SENDERS", default=12)
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
_ROLES = ("uploader", "lead", "reader", "adjudicator", "study_lead", "model_admin", "system_admin")
_FACTOR: list[str] = env.list("WINNOW_SECOND_FACTOR", default=["none"] if DEVELOPMENT else ["all"])
if unknown := set(_FACTOR) - {*_ROLES, "all", "none"}:
    raise ImproperlyConfigured(f"WINNOW_SECOND_FACTOR names no role with {', '.join(sorted(unknown))}. Roles: {', '.join(_ROLES)}.")
SECOND_FACTOR_ROLES: frozenset[str] = frozenset(_ROLES if "all" in _FACTOR else set(_FACTOR) - {"none"})
"""Who has one of these roles reaches nothing before they have a second factor."""
REAUTHENTICATE_MINUTES: int = env.int("WINNOW_REAUTHENTICATE_MINUTES", default=0 if DEVELOPMENT else 15)
"""How old a password may be for what `access.SENSITIVE` names; 0: any age."""
THROTTLES: bool = env.bool("WINNOW_THROTTLES", default=True)

# ---- Django -----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "portal.core", "portal.audit", "portal.accounts", "portal.jobs", "portal.registry", "portal.holdings", "portal.images",
    "portal.analyses", "portal.labels", "portal.reviews", "portal.datasets", "portal.learning", "portal.pipeline", "portal.api",
    "portal.web",
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
    "django.contrib.staticfiles", "django.contrib.postgres", "django.contrib.humanize",
    "allauth", "allauth.account", "allauth.mfa", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect",
    "rest_framework", "drf_spectacular", "drf_spectacular_sidecar", "django_htmx", "pgtrigger", "csp", "django_structlog",
]  # fmt: skip
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.core.request_log.RequestLog",
    "portal.core.headers.PrivateAnswers",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "portal.accounts.limits.Limits",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.accounts.sessions.SessionLife",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.accounts.middleware.RouteRules",
    "portal.accounts.factors.SecondFactor",
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
"""Of any body; `accounts/limits.py` names the routes that take more."""
DATA_UPLOAD_MAX_NUMBER_FILES = 10
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
MFA_FORMS = {
    "add_webauthn": "portal.accounts.keys.AddKey",
    "authenticate_webauthn": "portal.accounts.keys.AskKey",
    "reauthenticate_webauthn": "portal.accounts.keys.AskKeyAgain",
}
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEVELOPMENT
LOGIN_URL = "account_login"
CSRF_FAILURE_VIEW = "portal.accounts.middleware.csrf_failure"
LOGIN_REDIRECT_URL = "home"
_MAIL = "console" if DEVELOPMENT else "dummy"
# Mail holds one-time links: without a server it goes nowhere, and to the console only where its reader owns the machine
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default=f"django.core.mail.backends.{_MAIL}.EmailBackend")
EMAIL_HOST: str = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT: int = env.int("EMAIL_PORT", default=25 if EMAIL_HOST in safety.LOCAL else 587)
EMAIL_HOST_USER: str = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD: str = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS: bool = env.bool("EMAIL_USE_TLS", default=EMAIL_HOST not in safety.LOCAL)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="winnow@localhost")

# ---- OpenID Connect, where the clinic has a provider -------------------------------------------------------------------
OIDC_SERVER_URL: str = env.str("OIDC_SERVER_URL", default="")
OIDC_CLIENT_ID: str = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET: str = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME: str = env.str("OIDC_NAME", default="your clinic")
OIDC_HAS_SECOND_FACTOR: bool = env.bool("OIDC_HAS_SECOND_FACTOR", default=False)
"""The provider itself asks for a second factor, and is believed."""
SOCIALACCOUNT_ADAPTER = "portal.accounts.oidc.InvitedOnly"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "clinic",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_SERVER_URL, "fetch_userinfo": True, "oauth_pkce_enabled": True},
            }
        ]
        if OIDC_SERVER_URL
        else [],
    }
}

# ---- hardening --------------------------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEVELOPMENT
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = not DEVELOPMENT
BEHIND_PROXY: bool = env.bool("WINNOW_BEHIND_PROXY", default=False)
PROXIES: int = env.int("WINNOW_PROXIES", default=1 if BEHIND_PROXY else 0)
ALLAUTH_TRUSTED_PROXY_COUNT = PROXIES
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEVELOPMENT
SESSION_COOKIE_AGE = 3600 * env.int("WINNOW_SESSION_HOURS", default=12)
"""From login to the end, however busy; `SESSION_IDLE_SECONDS` without a request end it too (accounts/sessions.py)."""
SESSION_IDLE_SECONDS = 60 * env.int("WINNOW_SESSION_IDLE_MINUTES", default=120)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
_OIDC = urlsplit(OIDC_SERVER_URL)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "report-uri": ["/csp-report"],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        # the log-in form leads on to the clinic's provider, and browsers hold redirects of forms to this too
        "form-action": [SELF, *([f"{_OIDC.scheme}://{_OIDC.netloc}"] if OIDC_SERVER_URL else [])],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    # a browsable interface would be a second set of pages, with forms and choices of its own
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "portal.api.errors.JsonAlone",
    "EXCEPTION_HANDLER": "portal.api.errors.handle",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Winnow",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Read what you may see, with a session; send files, with an upload token. An error is always `{code, message}`.",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "portal.api.openapi.complete"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

LOG_FORMAT: str = env.str("WINNOW_LOG_FORMAT", default="lines" if DEVELOPMENT else "json")
LOGGING: dict[str, Any] = logs.configure(level=env.str("LOG_LEVEL", default="INFO"), as_json=LOG_FORMAT != "lines")
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
DJANGO_STRUCTLOG_CELERY_DEFAULT_LOG_LEVEL = logging.DEBUG
"""A bell rings every few seconds: that one was heard is no news."""

if not DEVELOPMENT and (_wrong := safety.refusals(globals())):
    raise ImproperlyConfigured("These settings are not safe:\n- " + "\n- ".join(_wrong))
