"""Logs as JSON lines in a file for each service and process, and warnings on the console."""

import fcntl
import itertools
import logging
import os
import re
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import cast

import structlog

_ROOT = "sharemesh"
_FILE_BYTES = 64 * 1024 * 1024
_FILES = 5

# What may slip into an exception's words: tokens, and the digits of a phone or a coupon code.
_SECRETS = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<!\d)\d{7,}(?!\d)")
_FREE_TEXT = ("exception", "error")


def of(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a service, to be called with an event's name and its fields."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(f"{_ROOT}.{name}"))


def to_console() -> None:
    """Turn events into JSON, and show warnings on stderr; call once in a process."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[console], level=logging.WARNING, format="%(message)s")
    logging.getLogger(_ROOT).setLevel(logging.INFO)


def to_file(service: str, folder: Path) -> Path:
    """Write a service's events to folder/<service>.<n>.jsonl from now on; n is the first that no process has taken."""
    folder.mkdir(parents=True, exist_ok=True)
    path = next(path for n in itertools.count(1) if _take(path := folder / f"{service}.{n}.jsonl"))
    logging.getLogger(f"{_ROOT}.{service}").addHandler(
        RotatingFileHandler(path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8")
    )
    return path


def redact(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blacken what looks like a token, a phone or a coupon code in an event's free text."""
    for key in _FREE_TEXT:
        if key in event:
            event[key] = _SECRETS.sub("█", str(event[key]))
    return event


def _take(path: Path) -> bool:
    """Whether this process now owns the file, until it ends; by a lock beside it, since rotation renames the file."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True
