"""Puts a mesh of this machine under the eyes of a Zabbix of this machine."""

import os
import sys
from pathlib import Path

from zabbix_utils import ZabbixAPI

from local.mesh import ROOT, Mesh
from local.process import Process
from local.zabbix import Stack

# A machine has one sidecar for a host, and may have several demos and tests.
HOST, MESH_HOST = f"demo-machine-{os.getpid()}", "sharemesh"
# Average, high and disaster, of what is away. Of a machine that is loaded something else may always be said.
GRAVE = [3, 4, 5]
AWAY = [{"tag": "scope", "value": "availability"}]


def provision(mesh: Mesh, stack: Stack, webhook: str = "") -> str:
    """Has Zabbix know both hosts, and tell the webhook if there is one; what was printed."""
    password = mesh.directory / "zabbix-password"
    password.touch(mode=0o600)
    password.write_text(stack.password)
    return mesh.run(
        *("zabbix", "provision", "--url", stack.url),
        *("--user", stack.user, "--password-file", str(password)),
        *("--host", HOST, "--mesh-host", MESH_HOST),
        *(("--webhook", webhook) if webhook else ()),
    )


def prepared(mesh: Mesh, stack: Stack, beat: int, folder: Path | None = None) -> Process:
    """The mesh's sidecar, which was not started yet; it keeps in `folder` what waits for Zabbix."""
    flags = {
        "--zabbix": stack.address,
        "--zabbix-host": HOST,
        "--mesh-host": MESH_HOST,
        "--registry": mesh.environment["SHAREMESH_REGISTRY"],
        "--beat": str(beat),
        "--monitoring-var": str(folder or mesh.directory / "sidecar"),
    }
    if mesh.gateway:
        flags["--gateway"] = mesh.gateway_address
    command = [sys.executable, "-m", "monitoring", *(part for flag in flags.items() for part in flag)]
    # What may have a password in it is no flag, since everybody can see those.
    environment = {**os.environ, "SHAREMESH_DATABASE": mesh.database}
    return Process("sidecar", "sidecar", command, ROOT, mesh.directory / "sidecar.log", environment)


def start(sidecar: Process) -> None:
    """Starts it, ended or not, and waits until it is at work; else NotReady."""
    sidecar.launch()
    sidecar.wait_until(lambda: "sidecar tells for" in sidecar.said(), "to say for whom it tells")


def problems(api: ZabbixAPI) -> list[str]:
    """The names of the grave problems of both hosts: what is away or was left."""
    hosts = [one["hostid"] for one in api.host.get(output=["hostid"], filter={"host": [HOST, MESH_HOST]})]
    return [one["name"] for one in api.problem.get(output=["name"], hostids=hosts, severities=GRAVE, tags=AWAY)]


def is_settled(api: ZabbixAPI, mesh: Mesh) -> bool:
    """Whether Zabbix knows every instance and control plane, Consul and the business, and has no grave problem."""
    of_instances = api.item.get(output=["lastclock"], host=HOST, search={"key_": "sharemesh.instance.state"})
    wanted = ["sharemesh.consul.up", "sharemesh.business.live"]
    of_mesh = api.item.get(output=["lastclock"], host=MESH_HOST, filter={"key_": wanted})
    known = sum(one["lastclock"] != "0" for one in of_instances)
    is_reported = len(of_mesh) == len(wanted) and all(one["lastclock"] != "0" for one in of_mesh)
    return known >= len(mesh.instances) + len(mesh.planes) and is_reported and not problems(api)
