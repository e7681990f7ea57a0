"""A whole mesh under the eyes of a real Zabbix: every value has its item, and faults are told in time."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from zabbix_utils import ZabbixAPI

from local import sidecar
from local.mesh import Mesh
from local.process import Process
from local.sidecar import HOST, MESH_HOST, is_settled, problems
from local.webhook import Request, Webhook
from local.zabbix import Stack

# An item that was just discovered takes values after a second or two; a busy machine takes many times that.
PATIENCE = 60.0
TOLD_SECONDS = 3.0
# When a webhook fails, Zabbix tries again after ten seconds, and again.
TOLD_AT_LAST = 150.0


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.stop()


@pytest.fixture(scope="module")
def mesh(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("mesh"), scale={"redeem": 2}, planes=1) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def watcher(mesh: Mesh, stack: Stack, webhook: Webhook, api: ZabbixAPI) -> Iterator[Process]:
    """The mesh's sidecar at a beat of a second, after Zabbix knows every instance."""
    sidecar.provision(mesh, stack, webhook.url)
    watcher = sidecar.prepared(mesh, stack, beat=1)
    sidecar.start(watcher)
    try:
        until(partial(is_settled, api, mesh))
        yield watcher
    finally:
        watcher.stop()


def until(is_so: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Waits for it and returns the seconds that it took; fails when it does not come."""
    begin = time.monotonic()
    while not is_so():
        assert time.monotonic() - begin < seconds, "it did not come"
        time.sleep(0.05)
    return time.monotonic() - begin


def items(api: ZabbixAPI, host: str, **more: object) -> list[dict[str, str]]:
    found = api.item.get(output=["key_", "lastclock", "lastvalue", "state", "error"], host=host, **more)
    assert isinstance(found, list)
    return found


def test_zabbix_takes_every_value_and_supports_every_item(api: ZabbixAPI, watcher: Process) -> None:
    (refused,) = items(api, HOST, filter={"key_": "sharemesh.sidecar.refused"})
    until(lambda: no_more_is_refused(api))
    wrong = [one for host in (HOST, MESH_HOST) for one in items(api, host) if one["state"] != "0"]
    assert wrong == []
    assert refused["lastclock"] != "0"


def test_the_sidecar_tells_every_item_that_the_template_has(api: ZabbixAPI, watcher: Process) -> None:
    # Not every machine has them: swap, and an interface whose speed is known.
    rare = ("sharemesh.host.swap.", "sharemesh.host.net.utilization")

    def untold() -> list[str]:
        keys = [one["key_"] for host in (HOST, MESH_HOST) for one in items(api, host) if one["lastclock"] == "0"]
        return [key for key in keys if not key.startswith(rare)]

    # Rates of coupons are told when nothing older can still be committed.
    until(lambda: not untold())


def await_beats(api: ZabbixAPI, number: int) -> None:
    where = {"key_": "sharemesh.sidecar.alive"}
    (before,) = items(api, HOST, filter=where)
    until(lambda: int(items(api, HOST, filter=where)[0]["lastclock"]) >= int(before["lastclock"]) + number)


def began(api: ZabbixAPI, part: str) -> int:
    """The second in which the problem began, by the value that it began with; how fast all of this machine is besides,
    `make monitor-demo` tells."""
    return max(int(one["clock"]) for one in api.problem.get(output=["name", "clock"]) if part in one["name"])


def await_told(api: ZabbixAPI, stack: Stack, webhook: Webhook, name: str, status: str) -> None:
    """Waits until the webhook was told of it; else what Zabbix itself says that it sent."""

    def is_meant(request: Request) -> bool:
        return name in request.body["name"] and request.body["status"] == status

    try:
        webhook.await_one(is_meant, TOLD_AT_LAST)
    except TimeoutError as error:
        shown = ["clock", "eventid", "p_eventid", "status", "retries", "error", "subject"]
        sent = api.alert.get(output=shown, sortfield="alertid", sortorder="DESC", limit=10)
        raise AssertionError(f"{error}; alerts: {sent}; log: {stack.log.read_text()[-2000:]}") from error


def no_more_is_refused(api: ZabbixAPI) -> bool:
    """Whether three beats went by without a value that Zabbix has no item for."""
    where = {"key_": "sharemesh.sidecar.refused"}
    (before,) = items(api, HOST, filter=where)
    await_beats(api, 3)
    return items(api, HOST, filter=where)[0]["lastvalue"] == before["lastvalue"]


def test_a_killed_instance_is_a_problem_within_three_seconds_and_alone(
    api: ZabbixAPI, mesh: Mesh, stack: Stack, webhook: Webhook, watcher: Process
) -> None:
    victim = mesh.instances_of("redeem")[0]
    victim.kill()
    begin = time.time()
    try:
        until(lambda: any(victim.address in name for name in problems(api)))
        assert began(api, victim.address) - begin <= TOLD_SECONDS
        await_told(api, stack, webhook, victim.address, "problem")
        # That one is left of two is within what is wanted by default.
        assert [name for name in problems(api) if victim.address not in name] == []
    finally:
        mesh.start("redeem")


def test_a_stopped_database_is_a_problem_within_three_seconds_and_no_instance_cries_besides(
    api: ZabbixAPI, mesh: Mesh, stack: Stack, webhook: Webhook, watcher: Process
) -> None:
    before = problems(api)
    assert mesh.mariadb is not None
    mesh.mariadb.crash()
    begin = time.time()
    until(lambda: any("database is down" in name for name in problems(api)))
    assert began(api, "database is down") - begin <= TOLD_SECONDS
    # By now the instances say that they cannot serve, and Consul that none passes.
    until(lambda: "2" in {one["lastvalue"] for one in items(api, HOST, search={"key_": "sharemesh.instance.state"})})
    count = {"key_": "sharemesh.service.instances[redeem]"}
    until(lambda: items(api, MESH_HOST, filter=count)[0]["lastvalue"] == "0")
    (name,) = [name for name in problems(api) if name not in before]
    mesh.mariadb.start_again()
    until(lambda: name not in problems(api))
    await_told(api, stack, webhook, name, "resolved")
    # Were it about to cry, it would within some beats.
    await_beats(api, 3)
    cried = [request.body["name"] for request in webhook.received if request.body["status"] == "problem"]
    assert [one for one in cried if "does not serve" in one or "Nobody serves" in one] == []
