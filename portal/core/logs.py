"""How log lines look: JSON for machines, or one readable line in development. No locals, no e-mail addresses, no file names, no queries.

Of an error the log names its kind and the places in the code, not its words: they may quote what somebody sent.
"""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

import structlog
from structlog.types import EventDict, Processor

_SCRUB = (
    (re.compile(r"DETAIL:.*", re.DOTALL), "DETAIL: [left out]"),
    (re.compile(r"""[^\s@"'<>(),;:=/]+@[^\s@"'<>(),;:=/]+\.[^\s@"'<>(),;:=/]+"""), "[address]"),
    (re.compile(r"""(["'])[^"'\n]*\.(?:jpe?g|png|tiff?|webp|heic|heif|dcm|csv|xlsx|zip)\1""", re.I), "[file]"),
    (re.compile(r"""[^\s"'<>=]+\.(?:jpe?g|png|tiff?|webp|heic|heif|dcm|csv|xlsx|zip)\b""", re.I), "[file]"),
    (re.compile(r"/invitation/[^/\s]+|/reading/(?:picture|beside|amend|revealed|again)/[^/\s]+|/password/reset/key/[^/\s]+"), "/[link]"),
    (re.compile(r"\?[^\s\"']+"), "?[query]"),
)


def scrubbed(text: str) -> str:
    """Without what may name a person. A net below what callers already leave out."""
    for pattern, instead in _SCRUB:
        text = pattern.sub(instead, text)
    return text


def _scrub(logger: Any, name: str, event: EventDict) -> EventDict:
    del logger, name
    return {key: scrubbed(value) if isinstance(value, str) and key not in _OURS else value for key, value in event.items()}


_OURS = {"logger", "level", "timestamp", "request_id", "route"}


def _error(logger: Any, name: str, event: EventDict) -> EventDict:
    """The kind of an error and where it was raised; its words only where the system speaks and not the data."""
    del logger, name
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, BaseException):
        raised = (type(raised), raised, raised.__traceback__)
    if isinstance(raised, tuple) and raised[1] is not None:
        error = raised[1]
        event["error"] = type(error).__name__
        event["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(raised[2])][-12:]
        if isinstance(error, OSError) and error.strerror:
            event["error_said"] = error.strerror
        if error.__cause__ is not None:
            event["cause"] = type(error.__cause__).__name__
    event.pop("exception", None)
    return event


def _line(logger: Any, name: str, event: EventDict) -> str:
    """For a person at a terminal: time, level, logger, message, the rest as words; then the traceback."""
    del logger, name
    traced = event.pop("exception", "")
    head = (event.pop("timestamp", ""), str(event.pop("level", "")).upper(), event.pop("logger", ""), event.pop("event", ""))
    rest = " ".join(f"{key}={value}" for key, value in event.items() if value not in (None, ""))
    return " ".join(str(part) for part in (*head, rest) if part) + (f"\n{traced}" if traced else "")


_COMMON: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(*, level: str, as_json: bool) -> dict[str, Any]:
    """Set structlog up and return Django's LOGGING: every record, of ours and of libraries, takes the same way."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_COMMON, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    machine: list[Processor] = [_error, _scrub, structlog.processors.JSONRenderer(default=str)]
    person: list[Processor] = [structlog.processors.format_exc_info, _line]
    quiet = {"handlers": ["nothing"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *(machine if as_json else person)],
                "foreign_pre_chain": list(_COMMON),
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}, "nothing": {"class": "logging.NullHandler"}},
        "root": {"handlers": ["console"], "level": level},
        # What these say of requests, `portal.core.request_log` says without addresses
        "loggers": {
            # a line that broke is no error of ours, and its messages name files
            "resumable_upload": {"level": "CRITICAL"},
            **({"django.request": quiet, "django.server": quiet} if as_json else {}),
        },
    }
