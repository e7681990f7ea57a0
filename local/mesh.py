"""The whole mesh on this machine, for tests and chaos: every component real, each a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from local import consul, envoy, mariadb, ports, procfile
from local.consul import Agent
from local.process import START_SECONDS, Process
from registry import channel

ROOT, SERVICES = procfile.ROOT, procfile.SERVICES
PREFIX = "SHAREMESH_"


class Mesh:
    """Consul, MariaDB, control planes, instances and the gateway: started with the `with`, all ended at its end.

    `scale` says how many instances a service has, one if it is not in it. `consuls` is 1 or 3 servers; a lone one
    remembers nothing over its end unless it is `lasting`. `database` is the URL of an empty or migrated one to use
    instead of a MariaDB of its own. `settings` are SHAREMESH_* variables for every process beside those that the mesh
    makes, such as the gateway's limits. Errors: NotReady and packages.Missing, by whose messages one can see why.
    """

    def __init__(
        self,
        directory: Path,
        scale: Mapping[str, int] | None = None,
        planes: int = 2,
        consuls: int = 1,
        gateway: bool = True,
        tls: bool = False,
        acl: bool = False,
        database: str = "",
        lasting: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.scale = {service: (scale or {}).get(service, 1) for service in SERVICES}
        self.database = database
        self.mariadb: mariadb.Server | None = None
        self.consuls: list[Agent] = []
        self.planes: list[Process] = []
        self.instances: list[Process] = []
        self.gateway: Process | None = None
        # What --tls takes; None: no TLS.
        self.tls = self.directory / "tls" if tls else None
        # SHAREMESH_* variables by which any process becomes part of this mesh.
        self.environment: dict[str, str] = dict(settings or {})
        self._wanted = (planes, consuls, gateway, acl, lasting)
        self._numbers = dict.fromkeys((*SERVICES, "plane", "gateway"), 0)
        self._nobody = f"127.0.0.1:{ports.free_one()}"
        self._at_end = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends whatever still runs, each process by its own id, at once: nobody needs what they keep any more."""
        self._at_end.close()

    @property
    def control_plane(self) -> str:
        """What --control-plane takes: all planes; where nobody is if there are none."""
        return ",".join(plane.address for plane in self.planes) or self._nobody

    @property
    def bootstrap(self) -> str:
        """What an xDS client reads at its start (GRPC_XDS_BOOTSTRAP_CONFIG): JSON."""
        return channel.bootstrap(self.control_plane, tls=self.tls and self.tls / "client")

    @property
    def gateway_address(self) -> str:
        """host:port of the gateway."""
        if self.gateway is None:
            raise RuntimeError("this mesh has no gateway")
        return self.gateway.address

    def start(
        self, service: str, release: str = "v1", zone: str = "", root: Path = ROOT, canary: int | None = None
    ) -> Process:
        """Starts one more instance from the checkout `root`, and waits until it serves and Consul finds it healthy."""
        instance = self._instance(service, release, zone, root, canary)
        instance.await_ready()
        self.await_passing([instance])
        return instance

    def instances_of(self, service: str) -> list[Process]:
        """The instances of a service that run."""
        return [one for one in self.instances if one.service == service and one.is_running]

    def passing(self, service: str) -> set[str]:
        """Addresses of the instances that Consul finds healthy, by the first server that answers; else OSError."""
        failures: list[OSError] = []
        for agent in self.consuls:
            try:
                found = agent.ask(f"/v1/health/service/{service}?passing&consistent")
                return {f"{one['Service']['Address']}:{one['Service']['Port']}" for one in found}
            except OSError as error:
                failures.append(error)
        raise failures[0]

    def await_passing(self, instances: Iterable[Process]) -> None:
        """Returns as soon as Consul finds these healthy; else NotReady."""
        for instance in instances:
            instance.wait_until(partial(self._is_passing, instance), "to be found healthy by Consul")

    def _is_passing(self, instance: Process) -> bool:
        try:
            return instance.address in self.passing(instance.service)
        except OSError:
            return False

    def _start(self) -> None:
        planes, consuls, gateway, acl, lasting = self._wanted
        self.directory.mkdir(parents=True, exist_ok=True)
        self._tell(
            VAR=str(self.directory / "var"),
            LOGS=str(self.directory / "log"),
            IMAGES=f"file://{self.directory}/images",
            # Reading pictures takes seconds of a processor, and is no part of what a mesh is started for.
            OCR="off",
            # Any free one; an instance says which.
            PORT="0",
        )
        if self.tls:
            # Where the servers of a cluster are besides 127.0.0.1.
            hosts = [part for number in range(2, consuls + 1) for part in ("--host", f"127.0.0.{number}")]
            self.run("certs", "--out", str(self.tls), *hosts)
            self._tell(TLS=str(self.tls))
        self._start_consuls(consuls, acl, lasting)
        self.planes = [self._plane(port) for port in ports.free(planes)]
        self._tell(CONTROL_PLANE=self.control_plane)
        self._start_database()
        for service, count in self.scale.items():
            for _ in range(count):
                self._instance(service)
        if gateway:
            self.gateway = self._gateway()
        for process in (*self.planes, *self.instances, *([self.gateway] if self.gateway else ())):
            process.await_ready()
        self.await_passing(self.instances)

    def run(self, *arguments: str) -> str:
        """Runs a command of `sharemesh` with the mesh's settings; what it printed, or RuntimeError if it fails."""
        command = [sys.executable, "-m", "services", *arguments]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
        if done.returncode:
            raise RuntimeError(f"sharemesh {' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-3000:]}")
        return done.stdout

    def _tell(self, **settings: str) -> None:
        """More settings for whatever is started from now on."""
        self.environment |= {PREFIX + name: value for name, value in settings.items()}

    def _start_consuls(self, count: int, acl: bool, lasting: bool) -> None:
        tls = self.tls and self.tls / "consul"
        if count == 1:
            self.consuls = [consul.start(self.directory / "consul", lasting=lasting, acl=acl, tls=tls)]
        else:
            self.consuls = consul.cluster(self.directory / "consul", count, acl=acl, tls=tls)
        for agent in self.consuls:
            self._at_end.callback(agent.crash)
        self._tell(REGISTRY=consul.url_of(self.consuls))
        if acl:
            token = self.directory / "registry-token"
            token.touch(mode=0o600)
            token.write_text(self.consuls[0].token)
            self._tell(REGISTRY_TOKEN=str(token))

    def _start_database(self) -> None:
        if not self.database:
            self.mariadb = mariadb.start(self.directory / "mariadb")
            self._at_end.callback(self.mariadb.crash)
            self.database = self.mariadb.url
        self._tell(DATABASE=self.database)
        self.run("migrate")

    def _plane(self, port: int) -> Process:
        """A control plane that is about to listen, on a port that it keeps when it is started again."""
        address = f"127.0.0.1:{port}"
        told = {"--registry": "REGISTRY", "--registry-token": "REGISTRY_TOKEN", "--tls": "TLS"}
        flags = [
            part
            for flag, name in told.items()
            if (value := self.environment.get(PREFIX + name))
            for part in (flag, value)
        ]
        command = [sys.executable, "-m", "registry", "--listen", address, *flags]
        return self._launched("plane", command, ROOT, address=address)

    def _gateway(self) -> Process:
        address = f"127.0.0.1:{ports.free_one()}"
        command = [sys.executable, "-m", "services", "gateway", "--listen", address, "--envoy", str(envoy.find())]
        return self._launched("gateway", command, ROOT, address=address)

    def _instance(
        self, service: str, release: str = "v1", zone: str = "", root: Path = ROOT, canary: int | None = None
    ) -> Process:
        """An instance that is about to serve, in the list."""
        settings = {"RELEASE": release, "ZONE": zone, "CANARY": "" if canary is None else str(canary)}
        command = [sys.executable, "-m", "services", "serve", service]
        instance = self._launched(service, command, root, settings)
        self.instances.append(instance)
        return instance

    def _launched(
        self, service: str, command: list[str], root: Path, settings: Mapping[str, str] | None = None, address: str = ""
    ) -> Process:
        self._numbers[service] += 1
        name = f"{service}-{self._numbers[service]}"
        more = {PREFIX + key: value for key, value in (settings or {}).items()}
        environment = {**os.environ, **self.environment, **more}
        process = Process(name, service, command, root, self.directory / f"{name}.log", environment, address)
        process.launch()
        self._at_end.callback(process.kill)
        return process
