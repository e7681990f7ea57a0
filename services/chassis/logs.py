"""Logs as JSON lines in a file for each service and process, and warnings on the console."""

import fcntl
import itertools
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson

from services.chassis.events import EventFile

_ROOT = "sharemesh"

# What may slip into an exception's words: tokens, and the digits of a phone or a coupon code.
_SECRETS = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<!\d)\d{7,}(?!\d)")
_FREE_TEXT = ("exception", "error")


def of(name: str) -> logging.Logger:
    """The logger of a service, to be called with an event's name and, if it has any, a dict of its fields."""
    return logging.getLogger(f"{_ROOT}.{name}")


def to_console() -> None:
    """Show warnings on stderr, and let loggers take events of level info; call once in a process."""
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    console.setFormatter(EventLines())
    logging.basicConfig(handlers=[console], level=logging.WARNING)
    logging.getLogger(_ROOT).setLevel(logging.INFO)


def to_file(service: str, folder: Path) -> Path:
    """Write a service's events to folder/<service>.<n>.jsonl from now on; n is the first that no process has taken."""
    folder.mkdir(parents=True, exist_ok=True)
    path = next(path for n in itertools.count(1) if _take(path := folder / f"{service}.{n}.jsonl"))
    file = EventFile(path)
    file.setFormatter(EventLines())
    logging.getLogger(f"{_ROOT}.{service}").addHandler(file)
    return path


class EventLines(logging.Formatter):
    """Makes a line of JSON of an event, and leaves what libraries say as they say it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        if not record.name.startswith(f"{_ROOT}."):
            return super().format(record)
        event: dict[str, object] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "time": datetime.fromtimestamp(record.created, UTC),
        }
        if isinstance(record.args, Mapping):
            event |= record.args
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        event |= {key: redact(str(event[key])) for key in _FREE_TEXT if key in event}
        return orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z).decode()


class Events:
    """Where the events of a service's RPCs go: past `logging`, which costs more than an RPC, into the same files."""

    def __init__(self, service: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{service}")

    def put(self, line: bytes) -> None:
        """Have an event, a line of JSON with its line end, written within 200 ms."""
        for file in self._logger.handlers:
            if isinstance(file, EventFile):
                file.put(line)

    def flush(self) -> None:
        """Write out all that was put; waits for the disk."""
        for file in self._logger.handlers:
            file.flush()


def redact(text: str) -> str:
    """Free text with whatever looks like a token, a phone or a coupon code blackened."""
    # An operating system's words may hold what UTF-8 cannot say.
    return _SECRETS.sub("█", text).encode(errors="backslashreplace").decode()


def _take(path: Path) -> bool:
    """Whether this process now owns the file, until it ends; by a lock beside it, since rotation renames the file."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True
