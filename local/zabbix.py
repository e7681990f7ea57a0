"""Starts a real Zabbix 7.0 with its pages, its API and a MariaDB of its own, from PATH or unpacked under .cache/."""

import contextlib
import http.cookiejar
import shutil
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from zabbix_utils import Sender, ZabbixAPI
from zabbix_utils.exceptions import ProcessingError

from local import browser, mariadb, ports, zabbix_files
from local.family import Family
from local.packages import Missing

LOOPBACK = "127.0.0.1"
USER, PASSWORD = "Admin", "zabbix"
# No process asks by SNMP here; each would log twenty lines on the modules it does not find, and hide why it ended.
WITHOUT_SNMP = {"MIBS": ""}
# A page takes a tenth of a second; an import of a large template, on a busy machine, some seconds.
ASK_SECONDS = 60
# The parts of a page come after the page.
HAS_PARTS = "!document.querySelector('.is-loading')"
# As few processes as there may be, since values come by trappers alone; a new item is known within a second.
CONFIGURATION = """\
AllowRoot=1
LogType=console
PidFile={directory}/zabbix_server.pid
# A socket's path may have 107 characters only; this one is relative to where the server runs.
SocketDir=.
DBHost=127.0.0.1
DBPort={database}
DBName=zabbix
DBUser=root
ListenIP=127.0.0.1
ListenPort={port}
CacheUpdateFrequency=1
HousekeepingFrequency=0
AllowSoftwareUpdateCheck=0
StartPollers=0
StartAgentPollers=0
StartHTTPAgentPollers=0
StartSNMPPollers=0
StartPollersUnreachable=0
StartPingers=0
StartDiscoverers=0
StartHTTPPollers=0
StartODBCPollers=0
StartBrowserPollers=0
StartProxyPollers=0
StartHistoryPollers=1
StartPreprocessors=1
StartTrappers=3
StartTimers=1
StartEscalators=1
StartAlerters=1
StartDBSyncers=1
StartLLDProcessors=1
"""
CERTIFICATES = """\
TLSCAFile={folder}/ca.pem
TLSCertFile={folder}/cert.pem
TLSKeyFile={folder}/key.pem
"""
# By default, certificates of RSA alone are allowed; OpenSSL allows TLS 1.3 besides, which takes all.
GNUTLS = """\
TLSCipherAll=NONE:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+RSA:+ECDHE-PSK:+PSK:+AES-256-GCM:+AES-128-GCM:+AES-128-CBC:\
+AEAD:+SHA256:+SHA1:+CURVE-ALL:+COMP-NULL:+SIGN-ALL:+CTYPE-X.509
"""


@dataclass
class Stack:
    """A running Zabbix: `port` takes values on loopback, `url` has the pages."""

    port: int
    url: str
    mariadb: mariadb.Server
    server: Family
    pages: Family
    user: str = USER
    password: str = PASSWORD

    @property
    def address(self) -> str:
        """host:port of the server."""
        return self.server.address

    @property
    def log(self) -> Path:
        """What the server logs."""
        return self.server.log

    def api(self) -> ZabbixAPI:
        """A client of the API that is logged in and may do everything."""
        return ZabbixAPI(url=self.url, user=self.user, password=self.password, timeout=ASK_SECONDS)

    def cookies(self) -> dict[str, str]:
        """What a browser that has logged in sends to the pages."""
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        form = urllib.parse.urlencode({"name": self.user, "password": self.password, "enter": "Sign in"})
        with opener.open(f"{self.url}/index.php", form.encode(), timeout=ASK_SECONDS):
            return {cookie.name: cookie.value or "" for cookie in jar}

    def screenshot(self, page: str, file: Path, width: int = 1600, height: int = 1000) -> None:
        """Writes a PNG of a page, such as "zabbix.php?action=dashboard.view&dashboardid=1"; see browser.screenshot."""
        browser.screenshot(f"{self.url}/{page}", file, width, height, self.cookies(), until=HAS_PARTS)

    def is_taking(self) -> bool:
        """Whether the server answers somebody who sends values; it listens a little earlier, or in vain."""
        try:
            # Of a host that nobody has.
            Sender(LOOPBACK, self.port, timeout=ASK_SECONDS).send_value("-", "-", "0")
        except (OSError, ProcessingError):
            return False
        return True

    def crash_server(self) -> None:
        """Ends the server at once, whatever it is doing; the pages stay."""
        self.server.kill()

    def start_server_again(self) -> None:
        """Starts a server that has ended once more, on its port, and waits until it takes values."""
        self.server.launch()
        self.server.wait_until(self.is_taking, "to take values")

    def stop(self) -> None:
        """Ends all of it, each by its own process ids."""
        self.pages.stop()
        self.server.stop()
        self.mariadb.stop()


def start(directory: Path, *, tls: Path | None = None) -> Stack:
    """Starts a Zabbix on free loopback ports with its files in `directory`, and waits until it takes values.

    What is in `directory` since one ran there last is kept. `tls` is the folder of ca.pem, cert.pem and key.pem: hosts
    may connect by certificate or pre-shared key then.
    """
    programs = zabbix_files.find()
    ready = zabbix_files.prepared(programs)
    directory = directory.absolute()
    if not (directory / "data").exists():
        # Complete or not at all.
        shutil.rmtree(directory / "data.new", ignore_errors=True)
        shutil.copytree(ready.data, directory / "data.new").rename(directory / "data")
    (database, web), port = ports.free(2), ports.free_low()
    configuration = CONFIGURATION.format(directory=directory, database=database, port=port)
    if tls:
        configuration += CERTIFICATES.format(folder=tls.absolute()) + (GNUTLS if "GnuTLS" in programs.about else "")
    file = directory / "zabbix_server.conf"
    file.write_text(configuration)
    server = Family(
        "Zabbix's server",
        "zabbix",
        [programs.server, "--foreground", "--config", str(file)],
        directory,
        directory / "zabbix_server.log",
        programs.environment | WITHOUT_SNMP,
        f"{LOOPBACK}:{port}",
    )
    pages = Family(
        "Zabbix's pages",
        "pages",
        programs.php.serving(ready.pages, web),
        directory,
        directory / "pages.log",
        programs.php.environment_of(ready.pages, database, port),
        f"{LOOPBACK}:{web}",
    )
    with contextlib.ExitStack() as undo:
        maria = mariadb.start_kept(directory, database, *zabbix_files.DATABASE_OPTIONS)
        undo.callback(maria.stop)
        for process in (server, pages):
            undo.callback(process.stop)
            process.launch()
        stack = Stack(port, f"http://{LOOPBACK}:{web}", maria, server, pages)
        server.wait_until(stack.is_taking, "to take values")
        pages.await_open()
        undo.pop_all()
    return stack


if __name__ == "__main__":
    try:
        programs = zabbix_files.find()
        zabbix_files.prepared(programs)
        sys.stdout.write(f"Zabbix: {programs.server}\n")
    except Missing as missing:
        sys.exit(str(missing))
