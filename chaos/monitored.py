"""`make monitor-demo`: a mesh with a sidecar and a real Zabbix, some faults, and when who was told of them."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.counting import ROOT
from local import sidecar, zabbix
from local.mesh import Mesh
from local.sidecar import HOST, MESH_HOST
from local.webhook import Request, Webhook

BEAT_SECONDS = 1
# A killed instance and a stopped database are to be a PROBLEM in this time, a dead sidecar in the other.
TOLD_SECONDS, SILENT_SECONDS = 3.0, 90.0
# Zabbix takes a value of an item that was just discovered once it has read its configuration again.
_SETTLE_SECONDS = 60.0
# Consul forgets a dead instance after a minute, and looks twice a minute; that is its recovery.
_RECOVERY_SECONDS = 150.0
_POLL_SECONDS = 0.05
# Parts of the problems' names.
_DATABASE, _SIDECAR = "The database is down", "Nothing was heard of"
# Beyond what is wanted, so that what is late is still told.
_PATIENCE = 30.0


@dataclass
class Row:
    """A fault and what came of it; seconds since the fault, and for the last two since it was mended."""

    title: str
    trigger: str
    within: float
    problem: float | None = None
    webhook: float | None = None
    mended: str = ""
    recovery: float | None = None
    recovery_webhook: float | None = None

    @property
    def complaints(self) -> list[str]:
        """What falls short, in words."""
        found = []
        if self.problem is None or self.problem > self.within:
            found.append(f"{self.title}: no PROBLEM within {self.within:.0f} s")
        if self.webhook is None:
            found.append(f"{self.title}: the webhook was not called")
        if self.recovery is None or self.recovery_webhook is None:
            found.append(f"{self.title}: it was not back to OK, or the webhook was not told")
        return found


def main() -> int:
    """Play the demo; returns 1 if an alert is late, missing, or does not end."""
    arguments = _parser().parse_args()
    console = Console(highlight=False)
    # On the disk of the project.
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="monitored-", dir=cache) as folder, ExitStack() as at_end:
        demo = Demo(Path(folder), console, at_end)
        rows = demo.play()
        if arguments.screenshot:
            demo.screenshot(arguments.screenshot)
        if arguments.stay:
            demo.stay()
    _table(console, rows)
    complaints = [line for row in rows for line in row.complaints]
    for line in complaints:
        console.print(line, style="red")
    return 1 if complaints else 0


class Demo:
    """Zabbix, a mesh with its database, and the machine's sidecar, all real and all on this machine."""

    def __init__(self, folder: Path, console: Console, at_end: ExitStack) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._say("starting Zabbix")
        self._zabbix = zabbix.start(folder / "zabbix")
        at_end.callback(self._zabbix.stop)
        self._api = self._zabbix.api()
        self._webhook = Webhook()
        at_end.callback(self._webhook.stop)
        self._say("starting a mesh: two of redeem, one of each other service, MariaDB, Consul, the gateway")
        self._mesh = at_end.enter_context(Mesh(folder / "mesh", scale={"redeem": 2}))
        self._say("sharemesh zabbix provision: the templates, two hosts, the webhook")
        sidecar.provision(self._mesh, self._zabbix, self._webhook.url)
        self._say(f"python -m monitoring --beat {BEAT_SECONDS}")
        self._sidecar = sidecar.prepared(self._mesh, self._zabbix, BEAT_SECONDS)
        at_end.callback(self._sidecar.kill)
        sidecar.start(self._sidecar)
        self._poll(
            partial(sidecar.is_settled, self._api, self._mesh),
            _SETTLE_SECONDS,
            "Zabbix to know all instances, and to have no complaint",
        )

    def play(self) -> list[Row]:
        """The faults."""
        victim = self._mesh.instances_of("redeem")[0]
        killed = self._fault("kill -9 of an instance of redeem", victim.address, TOLD_SECONDS, victim.kill)
        self._mesh.start("redeem")
        killed_mended = self._mended(killed, "another one is started; Consul forgets the dead one after a minute")
        database = self._mesh.mariadb
        assert database is not None
        stopped = self._fault("the mesh's database is stopped", _DATABASE, TOLD_SECONDS, database.stop)
        database.start_again()
        self._recovered(stopped, self._mended(stopped, "it is started again"))
        self._recovered(killed, killed_mended)
        silent = self._fault("kill -9 of the sidecar", _SIDECAR, SILENT_SECONDS, self._sidecar.kill)
        sidecar.start(self._sidecar)
        self._recovered(silent, self._mended(silent, "it is started again"))
        return [killed, stopped, silent]

    def screenshot(self, folder: Path) -> None:
        """The dashboards as a browser shows them, a picture of each page."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MESH_HOST, HOST):
            (host,) = self._api.host.get(
                output=["hostid"], filter={"host": [name]}, selectParentTemplates=["templateid"]
            )
            templates = [template["templateid"] for template in host["parentTemplates"]]
            for dashboard in self._api.templatedashboard.get(templateids=templates, selectPages=["name"]):
                where = f"action=host.dashboard.view&hostid={host['hostid']}&dashboardid={dashboard['dashboardid']}"
                for number, page in enumerate(dashboard["pages"], 1):
                    file = folder / f"{name}-{page['name'] or number}.png".lower().replace(" ", "-")
                    self._zabbix.screenshot(f"zabbix.php?{where}&page={number}&from=now-10m&to=now&kiosk=1", file)

    def stay(self) -> None:
        """Until Enter is pressed."""
        who = f"{self._zabbix.user}, {self._zabbix.password}"
        self._say(f"Zabbix is at {self._zabbix.url} ({who}); Enter ends all of it")
        sys.stdin.readline()

    def _fault(self, title: str, trigger: str, within: float, act: Callable[[], object]) -> Row:
        """Does it, and waits until it is a PROBLEM and the webhook was told; `trigger` is part of its name."""
        row = Row(title, trigger, within)
        self._say(title)
        begin = time.monotonic()
        act()
        with suppress(TimeoutError):
            row.problem = self._poll(lambda: bool(self._names(trigger)), within + _PATIENCE, "", begin)
            self._say(f"  PROBLEM after {row.problem:.2f} s: {self._names(trigger)[0]}")
            self._webhook.await_one(partial(_tells, trigger, "problem"), _PATIENCE)
            row.webhook = time.monotonic() - begin
            self._say(f"  the webhook was told after {row.webhook:.2f} s at most")
        return row

    def _mended(self, row: Row, how: str) -> float:
        row.mended = how
        self._say(f"  {how}")
        return time.monotonic()

    def _recovered(self, row: Row, begin: float) -> None:
        """Waits until what was mended at `begin` is OK again, and the webhook was told."""
        with suppress(TimeoutError):
            row.recovery = self._poll(lambda: not self._names(row.trigger), _RECOVERY_SECONDS, "", begin)
            self._webhook.await_one(partial(_tells, row.trigger, "resolved"), _PATIENCE)
            row.recovery_webhook = time.monotonic() - begin
            told = f"OK after {row.recovery:.2f} s, the webhook was told after {row.recovery_webhook:.2f} s"
            self._say(f"{row.title}: {told}")

    def _names(self, part: str) -> list[str]:
        return [name for name in sidecar.problems(self._api) if part in name]

    def _poll(self, is_so: Callable[[], bool], seconds: float, what: str, begin: float | None = None) -> float:
        """Returns how long after `begin` it was seen to be so; else TimeoutError."""
        since = time.monotonic() if begin is None else begin
        while not is_so():
            if time.monotonic() > since + seconds:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s; open problems: {self._names('')}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - since

    def _say(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._begin:7.2f} s  {text}", markup=False, soft_wrap=True)


def _tells(part: str, status: str, request: Request) -> bool:
    return part in str(request.body.get("name")) and request.body.get("status") == status


def _table(console: Console, rows: list[Row]) -> None:
    table = Table("fault", "PROBLEM", "wanted", "webhook", "mended", "OK", "webhook")
    for row in rows:
        seconds = row.problem, row.webhook, row.recovery, row.recovery_webhook
        problem, told, recovery, told_again = ("never" if one is None else f"{one:.1f} s" for one in seconds)
        table.add_row(row.title, problem, f"<= {row.within:.0f} s", told, row.mended, recovery, told_again)
    console.print(table)
    console.print("Seconds after the fault, and after it was mended, by when each was seen.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m chaos.monitored", description=__doc__)
    parser.add_argument("--screenshot", type=Path, metavar="FOLDER", help="keep pictures of the dashboards there")
    parser.add_argument("--stay", action="store_true", help="stay up until Enter, to look at Zabbix")
    return parser


if __name__ == "__main__":
    sys.exit(main())
