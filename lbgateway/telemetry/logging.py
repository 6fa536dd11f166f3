"""Events as JSON or for people, on stderr: structlog's and those of every library, through one handler.

Secrets are taken out twice: by the name of a key, and from URLs by their userinfo. The data that the gateway
logs holds none to begin with; this is for what a library or a plugin says.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""By the names that ``logging.level`` may have."""

# httpx tells every request at INFO, with the URL's query; asyncio's debug messages are for asyncio.
_QUIET = {
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn": logging.WARNING,  # the gateway tells of its start and end itself
    "uvicorn.access": logging.CRITICAL,
}

_EXTRA = ("service", "services", "instance", "index", "error", "attempt", "reason", "url", "path", "age_seconds")
"""``extra=`` keys of plain stdlib records that become fields."""

_SECRET_KEY = re.compile(r"token|secret|password|passwd|authorization|cookie|api_?key|credential|private_?key", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#@\s]+@")
REDACTED = "[redacted]"


def configure(level: str = "info", format: str = "json", *, stream: TextIO | None = None) -> None:  # noqa: A002 the configuration's word
    """Send all events to `stream` (stderr unless given). May be called again, after a reload.

    `level` is one of `LEVELS`, `format` is ``json`` or ``console``. uvicorn must be started with
    ``log_config=None``, or it puts handlers of its own beside this one.
    """
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(_EXTRA)],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(format, stream)],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Loggers are made at import; after a reload they must see the new settings.
        cache_logger_on_first_use=False,
    )
    _replace_handler(handler, LEVELS[level])


def _rendering(format: str, stream: TextIO) -> list[Processor]:  # noqa: A002 as above
    if format == "json":
        return [structlog.processors.format_exc_info, redact, in_order, structlog.processors.JSONRenderer(default=str)]
    # The pretty traceback would show local variables, and with them whatever a client has sent.
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time", exception_formatter=plain)
    return [structlog.processors.format_exc_info, redact, console]


def _replace_handler(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The processor that puts first what a reader of raw lines looks for: when, how bad, what."""
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return {**first, **event}


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The processor that takes secrets out: values of keys that are named like one, and userinfo in URLs."""
    for key, value in event.items():
        event[key] = REDACTED if _SECRET_KEY.search(key) and value else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _USERINFO.sub(REDACTED + "@", value) if "://" in value else value
    if isinstance(value, dict):
        return redact(None, "", dict(value))
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
