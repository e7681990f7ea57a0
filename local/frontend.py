"""Zabbix's pages and API: a PHP that can run them, and a copy of them that is told its database by the environment."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local import packages
from local.packages import Missing

# What Zabbix asks for; the first ones are what others load upon.
EXTENSIONS = (
    *("mysqlnd", "xml", "dom"),
    *("bcmath", "ctype", "gd", "gettext", "ldap", "mbstring", "mysqli", "sockets"),
    *("simplexml", "tokenizer", "xmlreader", "xmlwriter"),
)
SETTINGS = {
    "date.timezone": "UTC",
    "display_errors": "0",
    "log_errors": "1",
    "max_execution_time": "300",
    "memory_limit": "512M",
    "post_max_size": "64M",
    "upload_max_filesize": "64M",
    "opcache.enable": "1",
    # The copy never changes.
    "opcache.validate_timestamps": "0",
}
# A page may ask the API or the server while it is made.
WORKERS = 4
ASK_SECONDS = 30.0
# The pages complain where these are not installed, though they look the same. What the C library always has stands for
# them.
LOCALES = ("en_US.utf8", "en_GB.utf8", "zh_CN.utf8")
PLAIN_LOCALE = Path("/usr/lib/locale/C.utf8")
# Debian's pages look for it here, and others' where it is written to.
DEBIANS_PLACE = "'/etc/zabbix/zabbix.conf.php'"
OUR_PLACE = "__DIR__.'/../../../conf/zabbix.conf.php'"
CONFIGURATION = """<?php
$DB['TYPE'] = 'MYSQL';
$DB['SERVER'] = '127.0.0.1';
$DB['PORT'] = getenv('SHAREMESH_ZABBIX_DATABASE');
$DB['DATABASE'] = 'zabbix';
$DB['USER'] = 'root';
$DB['PASSWORD'] = '';
$DB['SCHEMA'] = '';
$DB['ENCRYPTION'] = false;
$DB['DOUBLE_IEEE754'] = true;
$ZBX_SERVER = '127.0.0.1';
$ZBX_SERVER_PORT = getenv('SHAREMESH_ZABBIX_SERVER');
$ZBX_SERVER_NAME = 'Sharemesh';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""


@dataclass(frozen=True)
class Php:
    """The program with options by which it has all extensions, and the environment it needs."""

    command: tuple[str, ...]
    environment: dict[str, str]

    def serving(self, pages: Path, port: int) -> list[str]:
        """The command line of a server of `pages` on a loopback port."""
        settings = [f"-d{name}={value}" for name, value in SETTINGS.items()]
        return [*self.command, *settings, "-S", f"127.0.0.1:{port}", "-t", str(pages)]

    def environment_of(self, pages: Path, database: int, server: int) -> dict[str, str]:
        """The environment of that server, by the ports of MariaDB and of the Zabbix server."""
        locales = pages.with_name("locales")
        return {
            **self.environment,
            **({"LOCPATH": str(locales)} if locales.exists() else {}),
            "PHP_CLI_SERVER_WORKERS": str(WORKERS),
            "SHAREMESH_ZABBIX_DATABASE": str(database),
            "SHAREMESH_ZABBIX_SERVER": str(server),
        }


def installed() -> Php | None:
    """The system's own PHP, if it has all that the pages need."""
    program = shutil.which("php")
    return _complete(Php((program,), dict(os.environ))) if program else None


def unpacked(root: Path) -> Php:
    """The PHP of Debian's packages under `root`; raises Missing if it does not run."""
    program = next(iter(sorted(root.glob("usr/bin/php[0-9]*.[0-9]"))), None)
    modules = next(iter(root.glob("usr/lib/php/*/mysqli.so")), None)
    if program and modules:
        loaded = [name for name in EXTENSIONS if (modules.parent / f"{name}.so").exists()]
        options = [f"-dextension_dir={modules.parent}", *(f"-dextension={name}" for name in loaded)]
        if (modules.parent / "opcache.so").exists():
            options.append("-dzend_extension=opcache")
        environment = {**os.environ, "LD_LIBRARY_PATH": packages.libraries_of(root)}
        # No configuration of the machine's.
        php = _complete(Php((str(program), "-n", *options), environment))
        if php:
            return php
    raise Missing(f"PHP was fetched into {root}, but does not run: install php-cli with {', '.join(EXTENSIONS)}.")


def copied(pages: Path, to: Path) -> None:
    """Copies Zabbix's pages to the new folder `to`, where they take their configuration from the environment, and puts
    the locales that they want beside it."""
    # Links become what they lead to, such as the font of graphs.
    shutil.copytree(pages, to, ignore=_dangling)
    place = to / "include/classes/core/CConfigFile.php"
    place.write_text(place.read_text().replace(DEBIANS_PLACE, OUR_PLACE))
    (to / "conf/zabbix.conf.php").write_text(CONFIGURATION)
    if PLAIN_LOCALE.exists():
        to.with_name("locales").mkdir()
        for name in LOCALES:
            (to.with_name("locales") / name).symlink_to(PLAIN_LOCALE)


def _dangling(folder: str, names: list[str]) -> set[str]:
    """The links that lead to what only the installation makes; shutil's own option takes relative ones for such."""
    return {name for name in names if not (Path(folder) / name).exists()}


def _complete(php: Php) -> Php | None:
    command = [*php.command, "-m"]
    done = subprocess.run(
        command, env=php.environment, capture_output=True, text=True, check=False, timeout=ASK_SECONDS
    )
    found = set(re.findall(r"^\w+$", done.stdout.lower(), re.MULTILINE))
    return php if found.issuperset(EXTENSIONS) else None
