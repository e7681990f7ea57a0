"""Starts a real Galera cluster of three nodes, with programs from PATH or unpacked under .cache/."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pymysql

from local import mariadb, packages, ports
from local.mariadb import Programs
from local.packages import Missing

CACHE = packages.CACHE / "galera"
# What they depend on is fetched too. The scripts by which a node gets its state from another are in mariadb-server,
# of which nothing else is needed: it is unpacked alone.
PACKAGES = ("galera-4", "rsync")
SCRIPTS = "mariadb-server"
STATE_TRANSFER = "wsrep_sst_rsync"
PROVIDERS = (
    "usr/lib/galera/libgalera_smm.so",
    "usr/lib64/galera-4/libgalera_smm.so",
    "usr/lib64/galera/libgalera_smm.so",
)
NODES = 3
# A node that joins copies everything first: some seconds, on a busy machine many times that.
START_SECONDS = 120.0
STOP_SECONDS = 30.0
# How long nodes may stand still before the others shut them out, with some room.
IN_STEP_SECONDS = 0.8
# A node that is silent for a second is suspected, and after three it is out: the defaults are 5 and 15.
IMPATIENCE = {
    "evs.keepalive_period": "PT0.3S",
    "evs.inactive_check_period": "PT0.2S",
    "evs.suspect_timeout": "PT1S",
    "evs.inactive_timeout": "PT3S",
    "evs.install_timeout": "PT3S",
}
# As root, rsync's daemon would turn into a user who may not write the data.
ROOTS_RSYNC = """#!/bin/sh
case " $* " in *" --daemon "*) exec {rsync} --dparam=uid=0 --dparam=gid=0 "$@";; esac
exec {rsync} "$@"
"""


@dataclass(frozen=True)
class Ports:
    """Where a node listens: to clients, to the group, for what it missed, and for a copy of everything."""

    sql: int
    group: int
    missed: int
    copy: int


@dataclass
class Node:
    """One server of the cluster, in a process group of its own while it runs."""

    number: int
    folder: Path
    ports: Ports
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "mariadb.log"

    def status(self, name: str) -> str:
        """A wsrep status, such as "wsrep_local_state_comment"; "" if there is no answer."""
        with (
            contextlib.suppress(pymysql.err.MySQLError),
            mariadb.connect(self.ports.sql) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SHOW GLOBAL STATUS LIKE %s", (name,))
            row = cursor.fetchone()
            return str(row[1]) if row else ""
        return ""

    def committing(self) -> bool:
        """Whether somebody waits for a COMMIT here."""
        with mariadb.connect(self.ports.sql) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW PROCESSLIST")
            return any(str(row[7]).upper().endswith("COMMIT") for row in cursor.fetchall())

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal to the node's process group, if it runs."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def end(self, by: signal.Signals) -> None:
        """Ends the node's process group, and waits until the server is gone."""
        process = self.process
        if process is None:
            return
        for how in (by, signal.SIGKILL):
            self.tell(how)
            # One that stands still would not hear of it.
            self.tell(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                self.process = None
                return


@dataclass
class Cluster:
    """Nodes 0, 1 and 2 on free loopback ports."""

    programs: Programs
    provider: Path
    nodes: list[Node] = field(default_factory=list)

    def url(self, name: str) -> str:
        """The URL of the database `name` that names every node, the first one first."""
        return f"mysql://root@{','.join(f'127.0.0.1:{node.ports.sql}' for node in self.nodes)}/{name}"

    def kill(self, number: int) -> None:
        """Ends a node as a power cut does."""
        self.nodes[number].end(signal.SIGKILL)

    def kill_at_commit(self, number: int) -> None:
        """Ends a node while it waits for the others to take a COMMIT, so that its caller cannot know what became of it;
        there must be load."""
        others = [node for node in self.nodes if node.number != number]
        try:
            for node in others:
                node.tell(signal.SIGSTOP)
            end = time.monotonic() + IN_STEP_SECONDS
            while not self.nodes[number].committing():
                if time.monotonic() > end:
                    raise RuntimeError(f"nobody committed anything on node {number}")
                time.sleep(0.005)
            self.kill(number)
        finally:
            for node in others:
                node.tell(signal.SIGCONT)

    def rejoin(self, number: int) -> None:
        """Starts a node again; it gets from the others what it missed."""
        node = self.nodes[number]
        # Without the position that it had, a node that was killed would take its old state for the present one.
        self._run(node, *self._recovered(node))

    def stop(self) -> None:
        """Ends every node by its own process group."""
        for node in reversed(self.nodes):
            node.end(signal.SIGTERM)

    def boot(self) -> None:
        """Starts the first node on an empty database, and lets the others join it."""
        first, *others = self.nodes
        mariadb.install(self.programs, first.data)
        self._run(first, "--wsrep-new-cluster")
        for node in others:
            node.data.mkdir()
            self._run(node)

    def _run(self, node: Node, *more: str) -> None:
        command = self.programs.command(self.programs.server, *self._options(node), *more)
        with node.log.open("ab") as output:
            node.process = subprocess.Popen(
                command, env=self.programs.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while node.status("wsrep_local_state_comment") != "Synced":
            if node.process.poll() is not None or time.monotonic() > end:
                node.end(signal.SIGKILL)
                raise RuntimeError(f"node {node.number} did not join: {node.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def _options(self, node: Node) -> list[str]:
        provider = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{node.ports.group}",
            "ist.recv_addr": f"127.0.0.1:{node.ports.missed}",
            "gcache.size": "64M",
            **IMPATIENCE,
        }
        return [
            *self._engine(node),
            # Relative to the data, since a socket's path may have 107 characters only.
            "--socket=my.sock",
            f"--pid-file={node.folder / 'my.pid'}",
            "--bind-address=127.0.0.1",
            f"--port={node.ports.sql}",
            "--skip-name-resolve",
            "--max-connections=500",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            # Galera wants both.
            "--innodb-autoinc-lock-mode=2",
            "--default-storage-engine=InnoDB",
            # Small, since it is copied.
            "--innodb-log-file-size=16M",
            "--wsrep-cluster-name=tests",
            f"--wsrep-cluster-address=gcomm://{','.join(f'127.0.0.1:{one.ports.group}' for one in self.nodes)}",
            f"--wsrep-node-name=node-{node.number}",
            "--wsrep-node-address=127.0.0.1",
            f"--wsrep-node-incoming-address=127.0.0.1:{node.ports.sql}",
            f"--wsrep-provider-options={';'.join(f'{key}={value}' for key, value in provider.items())}",
            f"--wsrep-sst-method={STATE_TRANSFER.removeprefix('wsrep_sst_')}",
            f"--wsrep-sst-receive-address=127.0.0.1:{node.ports.copy}",
            "--wsrep-slave-threads=2",
        ]

    def _engine(self, node: Node) -> list[str]:
        return [
            f"--datadir={node.data}",
            "--binlog-format=ROW",
            "--wsrep-on=ON",
            f"--wsrep-provider={self.provider}",
        ]

    def _recovered(self, node: Node) -> list[str]:
        command = self.programs.command(
            self.programs.server,
            *self._engine(node),
            "--wsrep-recover",
            "--wsrep-cluster-address=gcomm://",
            "--port=0",
            "--socket=recover.sock",
        )
        done = subprocess.run(command, env=self.programs.environment, capture_output=True, text=True)
        found = re.findall(r"WSREP: Recovered position: *([0-9a-f-]+:-?\d+)", done.stdout + done.stderr)
        if not found:
            raise RuntimeError(f"node {node.number} tells no position: {(done.stdout + done.stderr)[-2000:]}")
        return [f"--wsrep-start-position={found[-1]}"]


def find() -> tuple[Programs, Path]:
    """MariaDB's programs with all that a node runs on its PATH, and the library that makes a node of it.

    What is not installed is under .cache/, fetched now if need be; else raises Missing.
    """
    programs = mariadb.find()
    root = Path("/")
    if not (shutil.which(STATE_TRANSFER) and shutil.which("rsync") and _provider(root)):
        root = CACHE / "root"
        if not _provider(root):
            packages.fetch(root, " and ".join(PACKAGES), PACKAGES, alone=[SCRIPTS])
    provider = _provider(root)
    if provider is None:
        raise Missing(f"{' and '.join(PACKAGES)} were fetched, but no Galera is in {root}: install galera-4.")
    before = programs.environment
    environment = {
        **before,
        # The scripts ask MariaDB's own programs for its options.
        "PATH": os.pathsep.join([str(root / "usr/bin"), str(Path(programs.installer).parent), packages.SEARCH_PATH]),
    }
    if root != Path("/"):
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(
            [before.get("LD_LIBRARY_PATH", ""), packages.libraries_of(root)]
        ).strip(os.pathsep)
    return replace(programs, environment=environment), provider


def _provider(root: Path) -> Path | None:
    return next((root / place for place in PROVIDERS if (root / place).exists()), None)


@contextlib.contextmanager
def started(directory: Path) -> Iterator[Cluster]:
    """Three nodes that are in step, with their files in `directory`; all of them end with the body."""
    programs, provider = find()
    if os.geteuid() == 0:
        rsync = shutil.which("rsync", path=programs.environment["PATH"])
        wrapper = directory / "bin" / "rsync"
        wrapper.parent.mkdir(parents=True)
        wrapper.write_text(ROOTS_RSYNC.format(rsync=rsync))
        wrapper.chmod(0o755)
        path = os.pathsep.join([str(wrapper.parent), programs.environment["PATH"]])
        programs = replace(programs, environment={**programs.environment, "PATH": path})
    cluster = Cluster(programs, provider)
    free = iter(ports.free(4 * NODES))
    for number in range(NODES):
        node = Node(number, directory / f"node-{number}", Ports(next(free), next(free), next(free), next(free)))
        node.folder.mkdir(parents=True)
        cluster.nodes.append(node)
    try:
        cluster.boot()
        yield cluster
    finally:
        cluster.stop()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Galera: {find()[1]}\n")
    except Missing as missing:
        sys.exit(str(missing))
