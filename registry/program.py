"""What the mesh's own programs share: flags with their environment variables, lines on the console, and their end."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from registry import config

# By flag: its default, and what it is for.
Flags = Mapping[str, tuple[str, str]]


class BadSetting(Exception):
    """A setting cannot be used; the message names it and says what to do."""


def add_flags(parser: argparse.ArgumentParser, flags: Flags) -> None:
    """Give the parser these flags, each with its environment variable in its help."""
    for name, (default, meaning) in flags.items():
        told = f"{meaning} [{_variable(name)}; default: {default or 'none'}]"
        parser.add_argument(f"--{name}", metavar="X", help=told.replace("%", "%%"))


def given(arguments: argparse.Namespace, environment: Mapping[str, str], flags: Flags) -> dict[str, str]:
    """The text of each flag: as it was given, else the environment's, else the default."""
    return {
        flag: getattr(arguments, flag.replace("-", "_")) or environment.get(_variable(flag)) or default
        for flag, (default, _) in flags.items()
    }


def _variable(flag: str) -> str:
    return f"SHAREMESH_{flag.replace('-', '_').upper()}"


def place(text: str) -> config.Static | config.Consul:
    """What --registry says. Raises BadSetting."""
    try:
        return config.parse(text)
    except ValueError as error:
        raise BadSetting(f"--registry: {text!r} {error}") from error


def seconds(flag: str, text: str, least: float = 0.0, most: float = 86400.0) -> float:
    """The number of seconds that a flag says. Raises BadSetting."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise BadSetting(f"--{flag}: {text!r} is not a number of seconds from {least:g} to {most:g}")
    return number


def file(flag: str, text: str) -> Path | None:
    """The file that a flag names, if it names one. Raises BadSetting."""
    if text and not Path(text).is_file():
        raise BadSetting(f"--{flag}: there is no file {text}")
    return Path(text) if text else None


def folder(flag: str, text: str) -> Path | None:
    """The folder that a flag names, if it names one. Raises BadSetting."""
    if text and not Path(text).is_dir():
        raise BadSetting(f"--{flag}: there is no folder {text}")
    return Path(text) if text else None


def log_to_console() -> None:
    """Warnings and worse as lines on stderr."""
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[console])


def stop_signal() -> asyncio.Event:
    """Set at SIGTERM and at SIGINT, in the running event loop."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


class _Lines(logging.Formatter):
    """A line a record, with the values that its event came with."""

    def format(self, record: logging.LogRecord) -> str:
        values = record.args if isinstance(record.args, Mapping) else {}
        return " ".join([super().format(record), *(f"{name}={value!r}" for name, value in values.items())])
