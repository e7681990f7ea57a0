"""Starts real Consul agents, from PATH or Consul 1.8.7 of Debian unpacked under .cache/ without root."""

import contextlib
import functools
import json
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import packages, ports
from local.packages import SEARCH_PATH, Missing

CACHE = packages.CACHE / "consul"
# Debian 12 has no Consul, Debian 11 has one that needs libc only. Newer ones speak the same API.
PACKAGE, SUITE = "consul", "bullseye"
# A leader takes 0.13 s alone and 1.5 s among three; a busy machine takes many times that.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
# An agent on this machine answers in milliseconds or stands still.
ASK_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


@dataclass
class Agent:
    """A running server agent; `url` is what --registry takes."""

    host: str
    port: int
    url: str
    command: list[str]
    directory: Path
    log: Path
    # The one that may do everything; "" without ACLs.
    token: str = ""
    # The folder of ca.pem, cert.pem and key.pem; None: no TLS.
    tls: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError if it does not run."""
        if self.process is None:
            raise RuntimeError("this Consul does not run")
        return self.process.pid

    @property
    def address(self) -> str:
        """host:port of the HTTP API."""
        return f"{self.host}:{self.port}"

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """What the agent answers at `path`, such as "/v1/status/leader", with the token that may do everything; raises
        OSError (urllib's HTTPError among them) if it refuses or is away."""
        request = urllib.request.Request(f"http{'s' if self.tls else ''}://{self.address}{path}", method=method)
        request.add_header("X-Consul-Token", self.token)
        request.data = None if body is None else json.dumps(body).encode()
        context = None
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls / "ca.pem")
            context.load_cert_chain(self.tls / "cert.pem", self.tls / "key.pem")
        with urllib.request.urlopen(request, timeout=ASK_SECONDS, context=context) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def is_leader(self) -> bool:
        """Whether this server leads its cluster."""
        try:
            return bool(self.ask("/v1/agent/self")["Stats"]["consul"]["leader"] == "true")
        except OSError:
            return False

    def crash(self) -> None:
        """Ends the agent at once, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def start_again(self, fresh: bool = False) -> None:
        """Starts an agent that has ended once more on its ports, and waits until it may be written to.

        It knows what it knew, unless `fresh`, or unless it was started as not `lasting`.
        """
        if fresh:
            shutil.rmtree(self.directory / "data", ignore_errors=True)
        self.launch()
        self.await_leader()

    def reload(self) -> None:
        """Makes the agent read its certificates anew."""
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ends the agent by its own process id."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def launch(self, prepare: Callable[[], None] | None = None) -> None:
        """Starts the process, which answers a moment later.

        With `prepare`, which the new process calls first, it has a session of its own: no signal to a group reaches it.
        """
        with self.log.open("ab") as output:
            # In its own folder: without one for data it takes what is in ./services for services' definitions.
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=prepare,
                start_new_session=prepare is not None,
            )

    def await_leader(self) -> None:
        """Returns as soon as the agent may be written to; raises RuntimeError with its log if that is not in time."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process is not None and self.process.poll() is None:
            # There are nodes once the leader has written down the first one. With ACLs nobody may see any before.
            with contextlib.suppress(OSError):
                if self.ask("/v1/catalog/nodes?consistent"):
                    return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"Consul did not start: {self.log.read_text(errors='replace')[-3000:]}")


def find() -> str:
    """The program: on PATH, else under .cache/, fetched now if need be; else raises Missing."""
    installed = shutil.which("consul", path=SEARCH_PATH)
    if installed:
        return installed
    program = CACHE / "root/usr/bin/consul"
    if not program.exists():
        packages.fetch(CACHE / "root", "Consul 1.8 or later (consul)", [PACKAGE], suite=SUITE)
    if not program.exists():
        raise Missing(f"{PACKAGE} of {SUITE} was fetched but no usr/bin/consul is in {CACHE / 'root'}: install Consul.")
    return str(program)


def start(directory: Path, *more: str, lasting: bool = False, acl: bool = False, tls: Path | None = None) -> Agent:
    """Starts one server on free loopback ports with its files in `directory`, and waits until it may be written to.

    It forgets everything when it ends, and is ready in a fraction of a second, unless it is `lasting`. With `acl`,
    whoever has no token sees nothing; Agent.token may do everything. `tls` is the folder of ca.pem, cert.pem and
    key.pem: callers must have a certificate then, and services that are checked are shown this one. `more` are options.
    """
    kind = ["-server", "-bootstrap-expect=1", f"-data-dir={directory.absolute() / 'data'}"] if lasting else ["-dev"]
    agent = prepared(directory, ports.free_one(), *kind, *more, acl=acl, tls=tls)
    agent.launch()
    agent.await_leader()
    return agent


def prepared(directory: Path, port: int, *options: str, acl: bool = False, tls: Path | None = None) -> Agent:
    """A lone agent whose HTTP API will be on `port`, about to start."""
    return _made(directory, LOOPBACK, list(options), _token(acl), tls, port, *ports.free(2))


def cluster(directory: Path, size: int = 3, *more: str, acl: bool = False, tls: Path | None = None) -> list[Agent]:
    """Starts lasting servers on 127.0.0.1, 127.0.0.2 and so on, as start() does; url_of() names them together."""
    hosts = [f"127.0.0.{number}" for number in range(1, size + 1)]
    free = {host: ports.free(3, host) for host in hosts}
    joins = [f"-retry-join={host}:{free[host][1]}" for host in hosts]
    token = _token(acl)
    agents = []
    for number, host in enumerate(hosts, 1):
        folder = directory / f"consul-{number}"
        kind = [
            "-server",
            f"-bootstrap-expect={size}",
            f"-data-dir={folder.absolute() / 'data'}",
            "-retry-interval=1s",
            *joins,
        ]
        agents.append(_made(folder, host, [*kind, *more], token, tls, *free[host]))
    try:
        for agent in agents:
            agent.launch()
        for agent in agents:
            agent.await_leader()
    except BaseException:
        stop(agents)
        raise
    return agents


def url_of(agents: Sequence[Agent]) -> str:
    """What --registry takes to know all of them."""
    return f"consul{'+tls' if agents[0].tls else ''}://{','.join(agent.address for agent in agents)}"


def leader_of(agents: Sequence[Agent]) -> Agent:
    """The server that leads the others; raises RuntimeError if none does for START_SECONDS."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        for agent in agents:
            if agent.process is not None and agent.is_leader():
                return agent
        time.sleep(0.05)
    raise RuntimeError("none of these Consul servers leads the others")


def stop(agents: Sequence[Agent]) -> None:
    """Ends them all, each by its own process id."""
    for agent in agents:
        agent.stop()


def _made(
    directory: Path, host: str, options: list[str], token: str, tls: Path | None, http: int, gossip: int, servers: int
) -> Agent:
    """An agent that is about to start, with its configuration written."""
    directory = directory.absolute()
    tls = tls and tls.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    program = find()
    off = {"dns": -1, "grpc": -1, "http": -1, "https": -1, "serf_wan": -1}
    if _version(program) >= (1, 14):
        off["grpc_tls"] = -1
    configuration: dict[str, Any] = {
        "node_name": f"node-{host.replace('.', '-')}-{http}",
        # The same node when it comes back empty.
        "node_id": str(uuid.uuid4()),
        "bind_addr": host,
        "client_addr": host,
        "advertise_addr": host,
        "ports": {**off, "https" if tls else "http": http, "serf_lan": gossip, "server": servers},
        "disable_update_check": True,
        # The impatience of a production server: the default is that of the smallest machines.
        "performance": {"raft_multiplier": 1},
        # As many connections as tests like.
        "limits": {"http_max_conns_per_client": 5000},
    }
    if token:
        first = "initial_management" if _version(program) >= (1, 11) else "master"
        configuration["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {first: token, "agent": token}}
    if tls:
        files = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem"}
        configuration |= {name: str(tls / file) for name, file in files.items()}
        # Whom checks ask for: by default the node, whose name is in no certificate, so that gRPC logs each of them.
        configuration |= {
            "verify_incoming_https": True,
            "enable_agent_tls_for_checks": True,
            "server_name": "localhost",
        }
    file = directory / "consul.json"
    file.write_text(json.dumps(configuration, indent=2))
    command = [program, "agent", f"-config-file={file}", *options]
    url = f"consul{'+tls' if tls else ''}://{host}:{http}"
    return Agent(host, http, url, command, directory, directory / "consul.log", token, tls)


def _token(acl: bool) -> str:
    return str(uuid.uuid4()) if acl else ""


@functools.cache
def _version(program: str) -> tuple[int, ...]:
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False, timeout=ASK_SECONDS)
    found = re.match(r"Consul v(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else (0, 0)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Consul: {find()}\n")
    except Missing as missing:
        sys.exit(str(missing))
