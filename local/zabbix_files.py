"""Zabbix's programs, and a database with its schema that is loaded once and copied ever after."""

import contextlib
import fcntl
import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local import frontend, mariadb, packages, ports
from local.frontend import Php
from local.packages import SEARCH_PATH, Missing

CACHE = packages.CACHE / "zabbix"
VERSION = "7.0"
WHAT = f"Zabbix {VERSION} (zabbix_server for MySQL, its pages, and PHP)"
# Debian 12 itself has 6.0, which refuses its MariaDB; later releases have 7.0.
BACKPORTS = {"bookworm": "bookworm-backports"}
SERVER, PAGES = "zabbix-server-mysql", "zabbix-frontend-php"
PHP = ("php-cli", "php-bcmath", "php-gd", "php-ldap", "php-mbstring", "php-mysql", "php-xml", "fonts-dejavu-core")
# Where Debian's packages and Zabbix's own put things, and what the schema consists of there.
PAGES_PLACES = ("usr/share/zabbix", "usr/share/zabbix/ui")
SCHEMAS = {
    "usr/share/zabbix-server-mysql": ("schema.sql.gz", "images.sql.gz", "data.sql.gz"),
    "usr/share/zabbix-sql-scripts/mysql": ("server.sql.gz",),
    "usr/share/zabbix/sql-scripts/mysql": ("server.sql.gz",),
}
ASK_SECONDS = 30.0
# The schema takes 3.5 s on a machine that does nothing else.
LOAD_SECONDS = 300.0
# The database is thrown away: it need not survive a power cut, and a small log is copied quickly.
DATABASE_OPTIONS = ("--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0")
# The one host that is there from the start would raise problems of its own, and the pages ask if the server runs.
SETTLED = """
UPDATE hosts SET status = 1 WHERE host = 'Zabbix server';
UPDATE config SET server_check_interval = 0;
TRUNCATE changelog;
"""


@dataclass(frozen=True)
class Programs:
    """Zabbix's server with the environment it needs and what it says of itself, its pages, the files of its schema in
    order, and PHP."""

    server: str
    environment: dict[str, str]
    about: str
    pages: Path
    schema: tuple[Path, ...]
    php: Php


@dataclass(frozen=True)
class Ready:
    """What a stack is started from: the data of a MariaDB that has Zabbix's schema, and pages that find theirs."""

    data: Path
    pages: Path


def find() -> Programs:
    """What is installed, else what is under .cache/, fetched now if need be; else raises Missing."""
    php = frontend.installed()
    server = shutil.which("zabbix_server", path=SEARCH_PATH)
    found = _programs(Path("/"), server, dict(os.environ), php) if server and php else None
    if found:
        return found
    root = CACHE / "root"
    if not root.exists():
        with _alone():
            _fetch(root)
    environment = {**os.environ, "LD_LIBRARY_PATH": packages.libraries_of(root)}
    found = _programs(root, str(root / "usr/sbin/zabbix_server"), environment, frontend.unpacked(root))
    if not found:
        raise Missing(f"{SERVER} and {PAGES} were fetched into {root}, but do not run: install {WHAT}.")
    return found


def prepared(programs: Programs) -> Ready:
    """The files to copy, made now if this is the first time with these versions."""
    made_of = (programs.about, mariadb.version(), SETTLED, frontend.CONFIGURATION, frontend.LOCALES)
    folder = CACHE / f"ready-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    if not folder.exists():
        with _alone():
            if not folder.exists():
                _prepare(programs, folder)
    return Ready(folder / "data", folder / "pages")


def _fetch(root: Path) -> None:
    # Somebody else may have been quicker.
    if root.exists():
        return
    suite = BACKPORTS.get(platform.freedesktop_os_release().get("VERSION_CODENAME", ""), "")
    of = f"/{suite}" if suite else ""
    # Without what the pages ask for: that would be a web server.
    packages.fetch(root, WHAT, [SERVER + of, *PHP], alone=[PAGES + of], beside=suite)


def _programs(root: Path, server: str, environment: dict[str, str], php: Php) -> Programs | None:
    """What lies below `root`, if all of it does and is of the right version."""
    about = _about(server, environment)
    if not about.startswith(f"zabbix_server (Zabbix) {VERSION}."):
        return None
    pages = [root / place for place in PAGES_PLACES if (root / place / "include/classes/core/CConfigFile.php").exists()]
    for place, files in SCHEMAS.items():
        schema = tuple(root / place / file for file in files)
        if pages and all(file.exists() for file in schema):
            return Programs(server, environment, about, pages[0], schema, php)
    return None


def _prepare(programs: Programs, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        work = Path(place)
        frontend.copied(programs.pages, work / "ready/pages")
        server = mariadb.start_kept(work, ports.free_one(), *DATABASE_OPTIONS)
        try:
            server.fresh("zabbix")
            for file in programs.schema:
                _run_sql(server.port, gzip.decompress(file.read_bytes()))
            _run_sql(server.port, SETTLED.encode())
        finally:
            server.stop()
        (work / "data").rename(work / "ready/data")
        (work / "ready").rename(folder)


def _run_sql(port: int, text: bytes) -> None:
    """By MariaDB's own client: what comes has DELIMITERs, which only that one knows."""
    programs = mariadb.find()
    client = str(Path(programs.installer).with_name("mariadb"))
    command = [client, "--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=root", "zabbix"]
    command.append("--default-character-set=utf8mb4")
    done = subprocess.run(
        command, env=programs.environment, input=text, capture_output=True, check=False, timeout=LOAD_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"Zabbix's schema was not loaded: {done.stderr.decode(errors='replace')[-2000:]}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process at a time; the others find what it made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _about(server: str, environment: dict[str, str]) -> str:
    """Its version and its TLS library in some lines; "" if it does not run."""
    try:
        done = subprocess.run(
            [server, "-V"], env=environment, capture_output=True, text=True, check=False, timeout=ASK_SECONDS
        )
    except OSError:
        return ""
    return done.stdout
