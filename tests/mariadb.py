"""Starts real MariaDB servers for the tests, from PATH or from Debian packages unpacked under .cache/ without root."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "mariadb"
PACKAGES = ("mariadb-server-core", "mariadb-client-core")
# Debian keeps daemons where only root's PATH looks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
# A server is ready in about a second; a busy machine takes many times that.
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# InnoDB shows an older picture of its transactions to whoever looks again within 0.1 s.
FRESH_SECONDS = 0.12


class MariaDBMissing(RuntimeError):
    """No MariaDB can be had here; the message says what to do. Tests fail by it, they are never skipped."""


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
    """Returns the installed MariaDB, else the one under .cache/, fetched now if need be; else raises MariaDBMissing."""
    server = shutil.which("mariadbd", path=SEARCH_PATH)
    installer = shutil.which("mariadb-install-db", path=SEARCH_PATH)
    if server and installer:
        return Programs(server, installer)
    root = CACHE / "root"
    if not (root / "usr/sbin/mariadbd").exists():
        fetch(root)
    base = root / "usr"
    libraries = [str(folder) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for folder in root.glob(pattern)]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    return Programs(str(base / "sbin/mariadbd"), str(base / "bin/mariadb-install-db"), base, environment)


def fetch(root: Path) -> None:
    """Unpacks MariaDB, and each library that it needs and this system lacks, into `root`, from the system's own package
    sources (security updates included) with lists of our own, so that nothing outside .cache/ changes."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise MariaDBMissing(
            "MariaDB is not installed, and this system has no apt to fetch it with: install MariaDB 10.11 or later so "
            "that `mariadbd` and `mariadb-install-db` are on PATH."
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        apt(work, "update")
        plan = apt(work, "install", "--simulate", "--no-install-recommends", *PACKAGES)
        wanted = [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", plan, re.M)]
        apt(work, "download", *wanted)
        for package in work.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(work / "root")], check=True)
        # Whoever else was fetching at the same time made the same folder.
        with contextlib.suppress(OSError):
            (work / "root").rename(root)
    if not (root / "usr/sbin/mariadbd").exists():
        raise MariaDBMissing(f"{' and '.join(PACKAGES)} were fetched but no mariadbd is in {root}: install MariaDB.")


def apt(work: Path, *arguments: str) -> str:
    """Runs apt-get in `work` with lists and cache of its own; returns what it printed, or raises MariaDBMissing."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work,
        "Acquire::Languages": "none",
        # As root, apt would turn into a user who may not write here.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    command = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items()), *arguments]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MariaDBMissing(
            f"MariaDB is neither installed nor fetched (apt-get {arguments[0]}: {done.stderr.strip()[-800:]}): "
            f"install {' and '.join(PACKAGES)}, or mend the package sources."
        )
    return done.stdout


def start(directory: Path, *more: str, preload: Path | None = None) -> Server:
    """Starts an empty server on a free loopback port with its files in `directory`, and waits until it answers.

    `more` are options of the server's own; `preload` is a library that it loads before all others.
    """
    programs = find()
    data = directory / "data"
    log = directory / "mariadb.log"
    options = (f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db")
    made = subprocess.run(
        programs.command(programs.installer, *options), env=programs.environment, capture_output=True, text=True
    )
    if made.returncode:
        raise RuntimeError(f"mariadb-install-db failed: {made.stdout[-2000:]}{made.stderr[-2000:]}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
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
    process = launched(command, environment, log)
    server = Server(url_of(port, "sharemesh"), port, command, environment, log, process)
    await_ready(server)
    server.fresh("sharemesh")
    return server


def launched(command: list[str], environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """The process of a server that is about to listen."""
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


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
    except MariaDBMissing as missing:
        sys.exit(str(missing))
