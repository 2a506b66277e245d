"""Settings, all from environment variables; the README lists each with its default.

The default needs nothing but Python: SQLite, the ORM as queue, files under var/.
"""

import secrets
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

VAR_DIR = Path(env.str("OWNVOICE_VAR_DIR", str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DJANGO_DEBUG", False)


def _secret_key() -> str:
    """The operator's key, or one made on first start and kept beside the database."""
    if key := env.str("DJANGO_SECRET_KEY", ""):
        return key
    path = VAR_DIR / "secret_key"
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(64))
    except FileExistsError:
        pass
    return path.read_text()


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "voiceplatform",
    "accounts",
    "consent",
    "recordings",
    "voices",
    "fxchains",
    "generation",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "rest_framework",
    "django_htmx",
    "template_partials",
    "django_q",
    "storages",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "voiceplatform.urls"
WSGI_APPLICATION = "voiceplatform.wsgi.application"
#: Processes of the web server, eight threads each.
WEB_WORKERS = env.int("OWNVOICE_WEB_WORKERS", 1)

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
            ],
        },
    },
]

# --- data

DATABASES = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'db.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Writers queue up at BEGIN instead of failing half-way through.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", "")
CACHES = {
    "default": (
        {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
        }
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

#: Recordings, voices and songs. Never served by URL: views check the owner first.
MEDIA_ROOT = VAR_DIR / "media"
S3_BUCKET = env.str("S3_BUCKET", "")
STORAGES = {
    "default": (
        {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": S3_BUCKET,
                "endpoint_url": env.str("S3_ENDPOINT_URL", "") or None,
                "region_name": env.str("S3_REGION", "") or None,
                "default_acl": "private",
                "file_overwrite": False,
            },
        }
        if S3_BUCKET
        else {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            # No base_url: asking for one raises, so no link to a file can leak.
            "OPTIONS": {"base_url": None, "file_permissions_mode": 0o600},
        }
    ),
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
#: Working files of running jobs (features, half-trained checkpoints), on this machine.
WORK_DIR = VAR_DIR / "work"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024  # bytes; a half-second chunk is 200 kB

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

# --- work in the background

# The queue only wakes us: jobs are rows (voiceplatform/jobs.py), so a message is
# acknowledged whatever became of it and never delivered again by the broker's own
# retry. `retry` must exceed `timeout`, or the broker hands a running task out twice.
Q_CLUSTER = {
    "name": "default",
    "workers": env.int("OWNVOICE_WORKERS", 1),
    "timeout": 600,
    "retry": 900,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    # Somebody waits for the verdict on their take.
    "poll": 0.1,
    "save_limit": 250,
    "label": "Queue",
    "ALT_CLUSTERS": {
        # Training and synthesis: hours long, one at a time a machine.
        "gpu": {
            "workers": env.int("OWNVOICE_GPU_WORKERS", 1),
            "timeout": 6 * 3600,
            "retry": 7 * 3600,
            "max_attempts": 1,
            "ack_failures": True,
            "catch_up": False,
            "poll": 0.5,
            # A fresh process per task gives torch's memory back.
            "recycle": 1,
        }
    },
}
Q_CLUSTER |= {"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}
for _options in Q_CLUSTER["ALT_CLUSTERS"].values():
    _options |= {"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}

# --- people

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = env.str("OWNVOICE_EMAIL_VERIFICATION", "none")
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignupForm"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Ownvoice <ownvoice@localhost>")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

# --- safety

#: True behind TLS: secure cookies, HSTS, redirects. Off for http://localhost only.
HTTPS = env.bool("OWNVOICE_HTTPS", False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "media-src": ["'self'", "blob:"],
        "worker-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- the rest

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

#: Seconds a voice may train here, listening to the takes apart: quickly, or well.
TRAINING_SECONDS = env.int("OWNVOICE_TRAINING_SECONDS", 420)
STUDIO_SECONDS = env.int("OWNVOICE_STUDIO_SECONDS", 1200)
#: Where voices train: "cpu", "cuda", or "auto", which is a GPU where there is one.
TRAINING_DEVICE = env.str("OWNVOICE_DEVICE", "auto")

#: Which engine makes voices where a person has not chosen: "auto", "local", or the slug
#: of a vendor (voices/choosing.py).
VOICE_ENGINE = env.str("OWNVOICE_ENGINE", "auto")
#: Credits that one person, and everybody together, may use at a vendor in a month.
VENDOR_CREDITS_PER_USER = env.int("OWNVOICE_VENDOR_CREDITS_PER_USER", 20_000)
VENDOR_CREDITS = env.int("OWNVOICE_VENDOR_CREDITS", 100_000)

#: Folders of a content encoder and a vocoder to use instead of what ships
#: (docs/voice-engine.md).
CONTENT_ENCODER = env.str("OWNVOICE_CONTENT_ENCODER", "")
VOCODER = env.str("OWNVOICE_VOCODER", "")

#: A file of words to draw the spoken consent's from, one a line; ours without it.
CHALLENGE_WORDS_FILE = env.str("OWNVOICE_CHALLENGE_WORDS", "")

#: Thresholds of the policy other than ours, by reason: {"too_noisy": 15}
#: (recordings/verification/policy.py).
VERIFICATION_THRESHOLDS = env.json("OWNVOICE_VERIFICATION", {})

#: Browsers' own fake devices may be recorded with: for tests, never for people.
ALLOW_FAKE_MICROPHONES = env.bool("OWNVOICE_ALLOW_FAKE_MICROPHONES", False)

#: Two accounts' enrolled voices this alike (cosine) wait for a moderator.
VOICE_MATCH_SIMILARITY = env.float("OWNVOICE_VOICE_MATCH_SIMILARITY", 0.55)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("DJANGO_LOG_LEVEL", "INFO")},
    # Which process picked up which message; the jobs themselves say what matters.
    "loggers": {
        "django-q": {"level": env.str("DJANGO_Q_LOG_LEVEL", "WARNING")},
        # Tells how long every sound is.
        "faster_whisper": {"level": "WARNING"},
        # Names every address asked; voices/vendors/ logs its own requests.
        "httpx": {"level": "WARNING"},
    },
}
