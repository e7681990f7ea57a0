"""Starts real MariaDB servers, from PATH or from Debian packages unpacked under .cache/ without root."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from local import packages, ports
from local.packages import SEARCH_PATH, Missing

CACHE = packages.CACHE / "mariadb"
PACKAGES = ("mariadb-server-core", "mariadb-client-core")
# A server is ready in about a second; a busy machine takes many times that.
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# InnoDB shows an older picture of its transactions to whoever looks again within 0.1 s.
FRESH_SECONDS = 0.12


@dataclass(frozen=True)
class Programs:
    """MariaDB's two programs, the folder they are unpacked in (None: the system's) and the environment they need."""

    server: str
    installer: str
    base: Path | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def command(self, program: str, *options: str) -> list[str]:
        """Returns a command line that reads no configuration file of the machine's."""
        base = [f"--basedir={self.base}"] if self.base else []
        user = ["--user=root"] if os.geteuid() == 0 else []
        return [program, "--no-defaults", *base, *user, *options]


@dataclass
class Server:
    """A running server; `url` is an empty database of its own."""

    url: str
    port: int
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes]

    def fresh(self, name: str) -> str:
        """Makes the database `name`, empty even if there was one, and returns its URL."""
        with connect(self.port) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}`")
        return url_of(self.port, name)

    def keep(self, name: str) -> str:
        """Makes the database `name` if there is none, and returns its URL."""
        with connect(self.port) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}`")
        return url_of(self.port, name)

    def crash(self) -> None:
        """Ends the server at once, whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """Starts a server that has ended once more, on the same files and port, and waits until it answers."""
        self.process = launched(self.command, self.environment, self.log)
        await_ready(self)

    def stop(self) -> None:
        """Ends the server by its own process id."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def url_of(port: int, name: str) -> str:
    """Returns the URL of a database of the server on `port`."""
    return f"mysql://root@127.0.0.1:{port}/{name}"


def connect(port: int) -> contextlib.closing["pymysql.connections.Connection[pymysql.cursors.Cursor]"]:
    """Opens a connection that is closed at the end of its `with`."""
    return contextlib.closing(pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=5))


def find() -> Programs:
    """Returns the installed MariaDB, else the one under .cache/, fetched now if need be; else raises Missing."""
    server = shutil.which("mariadbd", path=SEARCH_PATH)
    installer = shutil.which("mariadb-install-db", path=SEARCH_PATH)
    if server and installer:
        return Programs(server, installer)
    root = CACHE / "root"
    if not (root / "usr/sbin/mariadbd").exists():
        packages.fetch(root, "MariaDB 10.11 or later (mariadbd, mariadb-install-db)", PACKAGES)
    base = root / "usr"
    environment = {**os.environ, "LD_LIBRARY_PATH": packages.libraries_of(root)}
    return Programs(str(base / "sbin/mariadbd"), str(base / "bin/mariadb-install-db"), base, environment)


def version() -> str:
    """What the server says of its version, a line."""
    programs = find()
    command = programs.command(programs.server, "--version")
    return subprocess.run(command, env=programs.environment, capture_output=True, text=True, check=True).stdout


def start(directory: Path, *more: str, preload: Path | None = None) -> Server:
    """Starts an empty server on a free loopback port with its files in `directory`, and waits until it answers.

    `more` are options of the server's own; `preload` is a library that it loads before all others.
    """
    server = start_kept(directory, ports.free_one(), *more, preload=preload)
    server.fresh("sharemesh")
    return server


def start_kept(
    directory: Path, port: int, *more: str, preload: Path | None = None, prepare: Callable[[], None] | None = None
) -> Server:
    """The same on a port of one's own, with what is in `directory` since it ran there last.

    With `prepare`, which the new process calls first, it has a session of its own: no signal to a group reaches it.
    """
    programs = find()
    data = directory / "data"
    log = directory / "mariadb.log"
    if not data.exists():
        install(programs, data)
    command = programs.command(
        programs.server,
        f"--datadir={data}",
        # Relative to the data, since a socket's path may have 107 characters only.
        "--socket=my.sock",
        f"--pid-file={directory / 'my.pid'}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-name-resolve",
        "--max-connections=500",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_bin",
        *more,
    )
    environment = programs.environment | ({"LD_PRELOAD": str(preload)} if preload else {})
    process = launched(command, environment, log, prepare)
    server = Server(url_of(port, "sharemesh"), port, command, environment, log, process)
    await_ready(server)
    return server


def install(programs: Programs, data: Path) -> None:
    """Makes the folder `data` of a server that has no databases yet, complete or not at all; else RuntimeError."""
    data.parent.mkdir(parents=True, exist_ok=True)
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    options = (f"--datadir={new}", "--auth-root-authentication-method=normal", "--skip-test-db")
    made = subprocess.run(
        programs.command(programs.installer, *options), env=programs.environment, capture_output=True, text=True
    )
    if made.returncode:
        raise RuntimeError(f"mariadb-install-db failed: {made.stdout[-2000:]}{made.stderr[-2000:]}")
    new.rename(data)


def launched(
    command: list[str], environment: dict[str, str], log: Path, prepare: Callable[[], None] | None = None
) -> "subprocess.Popen[bytes]":
    """The process of a server that is about to listen."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=prepare,
            start_new_session=prepare is not None,
        )


def await_ready(server: Server) -> None:
    """Returns as soon as the server answers; raises RuntimeError with its log if it ends or is not ready in time."""
    end = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(pymysql.err.OperationalError), connect(server.port):
            return
        time.sleep(0.05)
    server.stop()
    raise RuntimeError(f"mariadbd did not start: {server.log.read_text(errors='replace')[-3000:]}")


if __name__ == "__main__":
    try:
        sys.stdout.write(f"MariaDB: {find().server}\n")
    except Missing as missing:
        sys.exit(str(missing))
