"""Every trigger of the template becomes a problem by the values that it is for, and ends, on a real Zabbix.

Values carry their clocks, and a trigger judges by these: what takes a quarter of an hour is told in a moment.
"""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from zabbix_utils import ZabbixAPI

from local.zabbix import Stack
from tests.monitoring import watch
from tests.monitoring.test_template import EXPORT, Node, triggers_of
from tests.monitoring.watch import Machine

# Another text each time, and a number that grows.
CHANGES, GROWS = "changes", "grows"
STEP_SECONDS = 30
# So many values are good, then bad for longer than any trigger wants it, then good again.
BEFORE, BAD, AFTER = 5, 32, 32

# What is told besides what is wrong, so that there is something to judge.
ROWS: Mapping[str, list[Mapping[str, str]]] = {
    "sidecar.reader": [{"{#READER}": "calls"}],
    "host.fs": [{"{#FSNAME}": "/", "{#FSTYPE}": "ext4"}],
    "host.disk": [{"{#DEVICE}": "sda"}],
    "host.net": [{"{#INTERFACE}": "eth0"}],
    "host.process": [{"{#ROLE}": "redeem"}],
    "db.replication": [{"{#SOURCE}": "one"}],
    "db.galera": [{"{#CLUSTER}": "c"}],
    "db.sqlite": [{"{#FILE}": "/a.db"}],
    "instance": [
        {"{#SERVICE}": name, "{#INSTANCE}": "i", "{#ADDRESS}": "10.0.0.1:1", "{#ZONE}": "", "{#VERSION}": "1"}
        for name in ("redeem", "audit")
    ],
    "gateway": [{"{#GATEWAY}": "10.0.0.1:8080"}],
    "rpc": [{"{#RPC}": "RedeemService.GetOffer"}],
    "refusal": [{"{#REASON}": "TOKEN_INVALID"}],
    "service": [{"{#SERVICE}": "redeem"}],
    "consul": [{"{#CONSUL}": "10.0.0.1:8500"}],
}
GOOD: Mapping[str, object] = {
    "host.cpu.used": 10,
    "host.memory.available.share": 50,
    "host.swap.free.share": 90,
    "host.swap.total": 1,
    "host.uptime": 90000,
    "host.clock.synchronized": 1,
    "host.net.up[eth0]": 1,
    "host.net.speed[eth0]": 10**9,
    "host.process.count[redeem]": 3,
    "db.up": 1,
    "db.uptime": 90000,
    "db.innodb.pool.hits": 99.9,
    "db.replication.io[one]": 1,
    "db.replication.sql[one]": 1,
    "db.galera.size[c]": 3,
    "db.galera.primary[c]": 1,
    "db.galera.ready[c]": 1,
    "db.galera.state[c]": 4,
    "db.sqlite.intact[/a.db]": 1,
    "instance.state[redeem,i]": 1,
    "instance.state[audit,i]": 1,
    "gateway.state[10.0.0.1:8080]": 1,
    "rpc.rate[RedeemService.GetOffer]": 10,
    "host.name": "a",
    "host.os": "a",
    "host.passwd": "a",
    "db.version": "a",
    "service.instances[redeem]": 2,
    "mesh.database": 1,
    "business.readable": 1,
    "consul.up": 1,
    "consul.leader": 1,
    "consul.servers": 3,
    "consul.server.up[10.0.0.1:8500]": 1,
}
# By trigger: what is wrong then. What is not in GOOD is 0 when it is well.
WRONG: Mapping[str, Mapping[str, object]] = {
    "Sidecar: Values come late": {"sidecar.buffer.age": 900},
    "Sidecar: Values were lost": {"sidecar.dropped": 5},
    "Sidecar: Zabbix refuses values": {"sidecar.refused": GROWS},
    "Sidecar: Reader calls fails": {"sidecar.failed[calls]": 1},
    "CPU: High utilization": {"host.cpu.used": 95},
    "CPU: High iowait": {"host.cpu[iowait]": 40},
    "CPU: High steal time": {"host.cpu[steal]": 40},
    "CPU: High load average": {"host.load[1]": 3},
    "Memory: Little is available": {"host.memory.available.share": 4},
    "Swap: Little is free": {"host.swap.free.share": 10},
    "Swap: Much is written to it": {"host.swap.out": 5e6},
    "FS /: Space is critically low": {"host.fs.used.share[/]": 96},
    "FS /: Space is low": {"host.fs.used.share[/]": 85},
    "FS /: Inodes are critically low": {"host.fs.inodes.share[/]": 96},
    "FS /: Inodes are low": {"host.fs.inodes.share[/]": 85},
    "FS /: Became read-only": {"host.fs.readonly[/]": 1},
    "Disk sda: Requests wait long": {"host.disk.read.await[sda]": 0.2, "host.disk.write.await[sda]": 0},
    "Disk sda: High utilization": {"host.disk.utilization[sda]": 99},
    "Interface eth0: Link down": {"host.net.up[eth0]": 0},
    "Interface eth0: High utilization": {"host.net.utilization[eth0]": 99},
    "Interface eth0: High error rate": {"host.net.in.errors[eth0]": 9, "host.net.out.errors[eth0]": 0},
    "Interface eth0: Speed is lower than before": {"host.net.speed[eth0]": 10**8},
    "Processes of redeem: None is left": {"host.process.count[redeem]": 0},
    "Processes of redeem: Few file descriptors are left": {"host.process.fds.share[redeem]": 95},
    "Few processes are left": {"host.processes.share": 95},
    "Few file descriptors are left": {"host.fds.share": 95},
    "Clock: Is off": {"host.clock.offset": -3},
    "Clock: Is not synchronized": {"host.clock.synchronized": 0},
    "Host was restarted": {"host.uptime": 60},
    "System name has changed": {"host.name": CHANGES},
    "Operating system has changed": {"host.os": CHANGES},
    "/etc/passwd has been changed": {"host.passwd": CHANGES},
    "Database: Is down": {"db.up": 0},
    "Database: Answers slowly": {"db.latency": 0.8},
    "Database: Version has changed": {"db.version": CHANGES},
    "Database: Was restarted": {"db.uptime": 60},
    "Database: Clock differs from this machine's": {"db.clock.offset": 9},
    "Database: Refuses connections": {"db.connections.refused": 1, "db.connections.share": 10},
    "Database: Few connections are left": {"db.connections.share": 90, "db.connections.refused": 0},
    "Database: Connections are aborted": {"db.connections.aborted": 9},
    "Database: Slow queries": {"db.queries.slow": 9},
    "Database: InnoDB buffer pool is too small": {"db.innodb.pool.hits": 50, "db.innodb.pool.reads": 5000},
    "Database: InnoDB waits for a free page": {"db.innodb.pool.waits": 1},
    "Database: InnoDB waits for its redo log": {"db.innodb.log.waits": 1},
    "Database: Row locks are waited for": {"db.innodb.rowlock.waits": 50, "db.innodb.rowlock.time": 1},
    "Database: Deadlocks": {"db.innodb.deadlocks": 1},
    "Database: InnoDB history list is long": {"db.innodb.history": 900000},
    "Database: Temporary tables on disk": {"db.tmp.disk": 90},
    "Replication one: Has stopped": {"db.replication.io[one]": 1, "db.replication.sql[one]": 0},
    "Replication one: Lags": {"db.replication.lag[one]": 300},
    "Galera c: Is not of the primary component": {"db.galera.primary[c]": 0},
    "Galera c: Takes no queries": {"db.galera.ready[c]": 0},
    "Galera c: Has fewer nodes than before": {"db.galera.size[c]": 0},
    "Galera c: Has too few nodes": {"db.galera.size[c]": 0},
    "Galera c: Is not synced": {"db.galera.state[c]": 2},
    "Galera c: Is held up by flow control": {"db.galera.paused[c]": 50},
    "Galera c: Conflicts": {"db.galera.conflicts[c]": 9},
    "Galera c: Receive queue is long": {"db.galera.queue.received[c]": 900},
    "SQLite /a.db: Is damaged": {"db.sqlite.intact[/a.db]": 0},
    "SQLite /a.db: WAL is large": {"db.sqlite.wal[/a.db]": 5e9},
    "Instance redeem i: Does not answer": {"instance.state[redeem,i]": 0, "instance.misses[redeem,i]": 9},
    "Instance redeem i: Does not serve": {"instance.state[redeem,i]": 2},
    "Instance audit i: Answers slowly": {"instance.state[audit,i]": 1, "instance.latency[audit,i]": 0.4},
    "Gateway 10.0.0.1:8080: Does not answer": {"gateway.state[10.0.0.1:8080]": 0, "gateway.misses[10.0.0.1:8080]": 9},
    "Gateway 10.0.0.1:8080: Does not serve": {"gateway.state[10.0.0.1:8080]": 2},
    "Calls: Counters cannot be read": {"instances.scrape.failed": 1},
    "RPC RedeemService.GetOffer: Many calls fail": {
        "rpc.faults[RedeemService.GetOffer]": 3,
        "rpc.rate[RedeemService.GetOffer]": 10,
    },
    "Refusals TOKEN_INVALID: Are many": {"refusal.rate[TOKEN_INVALID]": 3},
    "Consul: Is down": {"consul.up": 0},
    "Consul: Has no leader": {"consul.leader": 0},
    "Consul: Answers slowly": {"consul.latency": 0.6},
    "Consul: Has too few servers": {"consul.servers": 0},
    "Consul 10.0.0.1:8500: Does not answer": {"consul.server.up[10.0.0.1:8500]": 0},
    "Mesh: The reporter's database is down": {"mesh.database": 0},
    "Service redeem: Nobody serves": {"service.instances[redeem]": 0},
    "Service redeem: Too few instances": {"service.instances[redeem]": 1},
    "Business: Cannot be read": {"business.readable": 0},
    "Business: The audit is behind": {"business.audit.oldest": 9000},
    "Business: A review is overdue": {"business.review.oldest": 900000},
    "Business: Stock is exhausted": {"business.stock.out": 1},
    "Business: Stock runs low": {"business.stock.low": 1},
    "Business: The invariants were not checked for long": {"business.check.age": 900000},
    "Business: The check of the invariants is behind": {"business.check.lag": 90000},
    **{
        trigger["name"]: {re.findall(r"sharemesh\.(\S+)\)", trigger["expression"])[0]: 2}
        for trigger in triggers_of(EXPORT["templates"][1])
        if "Invariant broken" in trigger["name"]
    },
}
# By the time that passes, not by values alone: in test_alerts.
BY_TIME = re.compile("Nothing was heard|Nobody reports|p9. is high|Clock: Is behind")


def levels() -> list[list[str]]:
    """The triggers of WRONG: those that depend on none, those that depend on the first alone, and so on."""
    masters: dict[str, set[str]] = {}
    for template in EXPORT["templates"]:
        for trigger in triggers_of(template):
            of = {filled(one["name"], row) for one in trigger.get("dependencies", ()) for row in all_rows()}
            for name in {filled(trigger["name"], row) for row in all_rows()}:
                masters[name] = {one for one in of if "{#" not in one}

    def depth(name: str) -> int:
        return 1 + max(map(depth, masters[name]), default=-1)

    found: list[list[str]] = [[] for _ in range(1 + max(map(depth, WRONG)))]
    for name in WRONG:
        found[depth(name)].append(name)
    return found


def all_rows() -> Iterator[Mapping[str, str]]:
    for rows in ROWS.values():
        yield from rows


def filled(name: str, row: Mapping[str, str]) -> str:
    for macro, text in row.items():
        name = name.replace(macro, text)
    return name


def of_template(names: list[str], template: Node) -> list[str]:
    mine = {filled(trigger["name"], row) for trigger in triggers_of(template) for row in all_rows()}
    return [name for name in names if name in mine]


def test_there_is_a_way_to_each_trigger() -> None:
    known = {trigger["name"] for template in EXPORT["templates"] for trigger in triggers_of(template)}
    reached = {name for name in known if any(filled(name, row) in WRONG for row in all_rows())}
    assert {name for name in known - reached if not BY_TIME.search(name)} == set()


@pytest.mark.parametrize("level", range(len(levels())))
def test_triggers_fire_by_their_values_alone_and_end(level: int, stack: Stack, api: ZabbixAPI, tmp_path: Path) -> None:
    names = levels()[level]
    hosts = (f"level-{level}", f"level-{level}-mesh")
    with watch.tidy(api):
        watch.outcomes(
            watch.provision(stack, tmp_path, "--host", hosts[0], "--mesh-host", hosts[1], "--wanted", "redeem=2")
        )
        for host, template in zip(hosts, EXPORT["templates"], strict=True):
            expected = of_template(names, template)
            if expected:
                fire(Machine(host, stack, api), expected, template)


def fire(machine: Machine, names: list[str], template: Node) -> None:
    keys = {rule["key"].removeprefix("sharemesh.").removesuffix(".discovery") for rule in template["discovery_rules"]}
    machine.beat = "sidecar.alive" if template["template"] == "Sharemesh host" else "mesh.alive"
    machine.discover(**{name.replace(".", "_"): rows for name, rows in ROWS.items() if name in keys})
    wrong = {key: value for name in names for key, value in WRONG[name].items()}
    # Those of the other template's host do not exist here.
    mine = {key for name in of_template(list(WRONG), template) for key in WRONG[name]}
    mine |= {"host.swap.total", "sidecar.beat"} if template["template"] == "Sharemesh host" else set()
    good = {key: GOOD.get(key, 0) for key in sorted(mine)}
    begin = int(time.time()) - (BEFORE + BAD + AFTER) * STEP_SECONDS
    steps = iter(range(begin, begin + (BEFORE + BAD + AFTER) * STEP_SECONDS, STEP_SECONDS))

    def tell(number: int, values: Mapping[str, object]) -> None:
        for _, clock in zip(range(number), steps, strict=False):
            special: Mapping[object, object] = {CHANGES: f"at {clock}", GROWS: clock - begin}
            machine.send((key, special.get(value, value), clock) for key, value in values.items())

    tell(BEFORE, good)
    tell(BAD, good | wrong)
    machine.await_problems(*names)
    tell(AFTER, good)
    machine.await_problems()


def test_what_is_told_of_no_longer_ends_while_the_sidecar_is_alive(
    stack: Stack, api: ZabbixAPI, tmp_path: Path
) -> None:
    names = (
        "Instance redeem i: Does not answer",
        "Instance audit i: Does not serve",
        "RPC RedeemService.GetOffer: Many calls fail",
        "Refusals TOKEN_INVALID: Are many",
    )
    wrong: Mapping[str, object] = {
        "instance.state[redeem,i]": 0,
        "instance.misses[redeem,i]": 9,
        "instance.state[audit,i]": 2,
        "rpc.faults[RedeemService.GetOffer]": 3,
        "rpc.rate[RedeemService.GetOffer]": 10,
        "refusal.rate[TOKEN_INVALID]": 3,
    }
    with watch.tidy(api):
        watch.outcomes(watch.provision(stack, tmp_path, "--host", "left", "--mesh-host", "left-mesh"))
        machine = Machine("left", stack, api)
        machine.discover(**{rule: ROWS[rule] for rule in ("instance", "rpc", "refusal")})
        begin = int(time.time()) - 3600

        def tell(values: Mapping[str, object], since: int, until: int) -> None:
            for clock in range(begin + since, begin + until, STEP_SECONDS):
                machine.send((key, value, clock) for key, value in {**values, "sidecar.beat": 0.1}.items())

        tell(wrong, 0, 600)
        machine.await_problems(*names)
        tell({}, 600, 840)
        # All of them, until so long nothing was said.
        machine.await_problems(*names)
        tell({}, 840, 1000)
        machine.await_problems(*names[2:])
        tell({}, 1000, 1260)
        machine.await_problems()
