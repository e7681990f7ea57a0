"""The database and the registry of `make mesh`, which end last: whoever drains still needs them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pymysql

from local import consul, mariadb
from local.process import START_SECONDS, end_with_parent

# Honcho kills whatever is there 5 s after the first end; instances drain for some 2 s.
PATIENCE_SECONDS = 3.5
POLL_SECONDS = 0.1
NAME = "sharemesh"
# Of ours: one connection, which asks.
USERS = "SELECT COUNT(*) - 1 FROM information_schema.processlist WHERE user = 'root'"


def database(folder: Path, port: int, ready: Path) -> int:
    """Runs MariaDB on `port` with what it kept in `folder`, brings its schema up to date and touches `ready`.

    Returns the exit code once told to end and all others have gone, or when it ends by itself.
    """
    told = _told()
    server = mariadb.start_kept(folder, port, prepare=end_with_parent)
    try:
        server.keep(NAME)
        migration = subprocess.run([sys.executable, "-m", "services", "migrate"], check=False, timeout=START_SECONDS)
        if migration.returncode:
            # It has said why; told to end, it had to.
            return 0 if told else migration.returncode
        ready.touch()
        _say(f"MariaDB listens on 127.0.0.1:{port}")
        return _attend(server.process, told, lambda: _is_unused(port))
    finally:
        server.stop()


def registry(folder: Path, port: int) -> int:
    """Runs a Consul on `port` that remembers nothing, with its log in `folder`: every instance tells it again.

    Returns the exit code once told to end and all others have left it, or when it ends by itself.
    """
    told = _told()
    agent = consul.prepared(folder, port, "-dev", "-log-level=warn")
    agent.launch(prepare=end_with_parent)
    try:
        agent.await_leader()
        _say(f"Consul listens on {agent.address}; its pages are at http://{agent.address}/ui")
        process = agent.process
        return 1 if process is None else _attend(process, told, lambda: agent.ask("/v1/agent/services") == {})
    finally:
        agent.stop()


def _told() -> list[int]:
    """Signals to end from now on, in a list that grows."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, frame: told.append(caught))
    return told


def _attend(process: "subprocess.Popen[bytes]", told: list[int], is_unused: Callable[[], bool]) -> int:
    while not told:
        if process.poll() is not None:
            _say(f"ended by itself, with exit code {process.returncode}")
            return 1
        time.sleep(POLL_SECONDS)
    end = time.monotonic() + PATIENCE_SECONDS
    # It may be gone by now.
    with suppress(OSError, pymysql.err.MySQLError):
        while time.monotonic() < end and not is_unused():
            time.sleep(POLL_SECONDS)
    return 0


def _is_unused(port: int) -> bool:
    with mariadb.connect(port) as connection, connection.cursor() as cursor:
        cursor.execute(USERS)
        return cursor.fetchone() == (0,)


def _say(line: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
