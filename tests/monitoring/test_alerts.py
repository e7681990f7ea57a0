"""Values become problems, webhooks in every shape, and end again; who depends on whom; on a real Zabbix."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from zabbix_utils import ZabbixAPI

from local.webhook import AWAIT_SECONDS, Request, Webhook
from local.zabbix import Stack
from tests.monitoring import watch
from tests.monitoring.watch import Machine

SECRET = "SEC-of-a-test"
# Between two attempts, as the media type has it.
AGAIN_SECONDS = 10
TAKEN = '{"errcode": 0, "errmsg": "ok"}'

DOWN = "Database: Is down"
# {$SHAREMESH.RPC.BEATS}
JUDGED_BEATS = 12
# Seconds after which a database that is back counts as that.
SETTLED = 12
INSTANCE = {"{#SERVICE}": "redeem", "{#INSTANCE}": "r1", "{#ADDRESS}": "10.0.0.1:1", "{#ZONE}": "a", "{#VERSION}": "1"}


@pytest.fixture(scope="module")
def everywhere(stack: Stack, api: ZabbixAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """A receiver of every shape, each at a path of its name."""
    folder = tmp_path_factory.mktemp("webhooks")
    secret = folder / "secret"
    secret.write_text(SECRET)
    webhook = Webhook()
    with watch.tidy(api):
        for shape in ("generic", "dingtalk", "wecom", "slack"):
            more = ("--secret-file", str(secret)) if shape == "dingtalk" else ()
            arguments = ("--webhook", f"{webhook.url}{shape}?access_token=1", "--shape", shape, *more)
            watch.outcomes(watch.provision(stack, folder, "--host", "alerts", "--mesh-host", "alerts-mesh", *arguments))
        yield webhook
    webhook.stop()


@pytest.fixture(scope="module")
def machines(
    stack: Stack, api: ZabbixAPI, everywhere: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Iterator[Machine]]:
    """Machines for the tests of this module, one each. When one is known to the server, the webhooks are."""
    folder = tmp_path_factory.mktemp("machines")
    names = [f"alerts-{number}" for number in range(9)]
    hosts = [argument for name in names for argument in ("--host", name)]
    with watch.tidy(api):
        watch.outcomes(watch.provision(stack, folder, *hosts, "--mesh-host", "alerts-mesh"))
        yield (Machine(name, stack, api) for name in names)


@pytest.fixture
def machine(machines: Iterator[Machine]) -> Machine:
    """One that has told nothing yet."""
    return next(machines)


@pytest.fixture
def told(machine: Machine, everywhere: Webhook) -> tuple[Machine, Webhook]:
    """A machine, and who is told of it."""
    everywhere.answer = TAKEN
    everywhere.forget()
    return machine, everywhere


def stop_database(machine: Machine) -> None:
    now = int(time.time())
    machine.send([("db.up", 1, now - 2), ("db.up", 0, now - 1), ("db.up", 0, now)])


def start_database(machine: Machine) -> None:
    now = int(time.time()) + SETTLED
    machine.send([("db.up", 1, now), ("db.up", 1, now + 1)])


def of_shape(webhook: Webhook, shape: str, host: str, words: str = "", seconds: float = AWAIT_SECONDS) -> Request:
    def is_meant(one: Request) -> bool:
        return one.path.startswith(f"/{shape}?") and host in str(one.body) and words in str(one.body)

    return webhook.await_one(is_meant, seconds)


def test_a_problem_and_its_end_are_told_in_every_shape(told: tuple[Machine, Webhook]) -> None:
    machine, webhook = told
    stop_database(machine)
    name = f"The database is down, seen from {machine.host}"

    generic = of_shape(webhook, "generic", machine.host).body
    assert generic.keys() == {
        *("event_id", "status", "severity", "name", "host", "opdata", "time", "since", "tags", "url")
    }
    assert (generic["status"], generic["severity"], generic["host"]) == ("problem", "high", machine.host)
    assert generic["name"] == name
    assert abs(datetime.fromisoformat(generic["time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert {"tag": "component", "value": "database"} in generic["tags"]
    assert f"eventid={generic['event_id']}" in generic["url"]

    dingtalk = of_shape(webhook, "dingtalk", machine.host)
    assert dingtalk.body["msgtype"] == "markdown"
    assert name in dingtalk.body["markdown"]["title"]
    assert f"{machine.host} · high · {generic['time']}" in dingtalk.body["markdown"]["text"]
    query = parse_qs(urlsplit(dingtalk.path).query)
    stamp = query["timestamp"][0]
    sign = hmac.new(SECRET.encode(), f"{stamp}\n{SECRET}".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(sign).decode()]
    assert query["access_token"] == ["1"]

    wecom = of_shape(webhook, "wecom", machine.host).body
    assert wecom["msgtype"] == "markdown"
    assert f"> {machine.host} · high" in wecom["markdown"]["content"]

    slack = of_shape(webhook, "slack", machine.host).body
    assert name in slack["text"]
    assert slack["attachments"][0]["blocks"][0]["text"]["type"] == "mrkdwn"

    start_database(machine)
    over = of_shape(webhook, "generic", machine.host, "'resolved'").body
    assert (over["event_id"], over["name"]) == (generic["event_id"], name)
    assert over["since"] == generic["time"] <= over["time"]
    for shape in ("dingtalk", "wecom", "slack"):
        of_shape(webhook, shape, machine.host, "resolved: ")


def test_what_somebody_says_of_a_problem_is_told(told: tuple[Machine, Webhook], api: ZabbixAPI) -> None:
    machine, webhook = told
    stop_database(machine)
    event = of_shape(webhook, "generic", machine.host).body["event_id"]
    acknowledged, with_a_message = 2, 4
    message = 'I look at "it" <now> [or](http://a) *not*'
    api.event.acknowledge(eventids=event, action=acknowledged | with_a_message, message=message)
    update = of_shape(webhook, "generic", machine.host, "'update'").body
    assert (update["event_id"], update["message"]) == (event, message)
    assert update["user"]
    assert "I look at &quot;it&quot;" not in str(of_shape(webhook, "slack", machine.host, "&lt;now&gt;").body)
    for shape in ("dingtalk", "wecom"):
        assert "［or］（http://a） ＊not＊" in str(of_shape(webhook, shape, machine.host, "I look at").body)


@pytest.mark.slow
def test_a_message_that_was_refused_is_shown_and_sent_again(told: tuple[Machine, Webhook], api: ZabbixAPI) -> None:
    machine, webhook = told
    webhook.answer = '{"errcode": 310000, "errmsg": "sign not match"}'
    stop_database(machine)
    of_shape(webhook, "wecom", machine.host)
    watch.soon(
        lambda: [one for one in watch.alerts_of(api, machine.host) if "sign not match" in one["error"]],
        "the refusal among Zabbix's alerts",
    )
    webhook.answer = TAKEN
    webhook.forget()
    of_shape(webhook, "wecom", machine.host, seconds=2 * AGAIN_SECONDS)


def test_a_dead_instance_is_told_and_forgotten_when_it_left(machine: Machine) -> None:
    machine.discover(instance=[INSTANCE])
    machine.tell(
        {"instance.state[redeem,r1]": 1, "instance.misses[redeem,r1]": 0, "instance.latency[redeem,r1]": 0.001}
    )
    machine.beats(*({"instance.state[redeem,r1]": 0, "instance.misses[redeem,r1]": misses} for misses in (1, 2)))
    dead = {"instance.state[redeem,r1]": 0, "instance.misses[redeem,r1]": 3}
    machine.await_problems("Instance redeem r1: Does not answer", telling=dead)
    machine.tell({"instance.state[redeem,r1]": 3, "instance.misses[redeem,r1]": 3})
    machine.await_problems()


def test_a_threshold_by_context_is_the_one_that_counts(machine: Machine) -> None:
    machine.set_macro('{$SHAREMESH.MISSES:"redeem"}', "4")
    machine.discover(instance=[INSTANCE, INSTANCE | {"{#SERVICE}": "audit"}])
    # Known to the server with the items, which are younger.
    machine.tell(
        {f"instance.{what}[{service},r1]": 0 for what in ("state", "misses") for service in ("audit", "redeem")}
    )
    dead = {f"instance.misses[{service},r1]": 3 for service in ("audit", "redeem")}
    machine.await_problems("Instance audit r1: Does not answer", telling=dead)


def test_without_its_database_only_the_database_cries(machine: Machine) -> None:
    machine.discover(instance=[INSTANCE], rpc=[{"{#RPC}": "RedeemService.GetOffer"}])
    healthy = {"db.up": 1, "instance.state[redeem,r1]": 1, "instance.misses[redeem,r1]": 0}
    sick = {"db.up": 0, "instance.state[redeem,r1]": 2, "instance.misses[redeem,r1]": 0}
    calls = {"rpc.rate[RedeemService.GetOffer]": 10, "rpc.faults[RedeemService.GetOffer]": 10}
    machine.beats(healthy, *[sick | calls] * 4)
    machine.await_problems(DOWN, telling=sick | calls)
    # That many calls of the last two minutes failed is no news now. With clocks ahead of the server's the database
    # would be back sooner, but Zabbix, which looks every 30 s of its own, might know of no call since that was well.
    well = healthy | calls | {"rpc.faults[RedeemService.GetOffer]": 0}
    machine.await_problems(telling=well)
    machine.await_problems("RPC RedeemService.GetOffer: Many calls fail", telling=calls)


def test_an_instance_that_does_not_serve_alone_is_told(machine: Machine) -> None:
    machine.discover(instance=[INSTANCE])
    machine.beats(*({"db.up": 1, "instance.state[redeem,r1]": state} for state in (1, 2, 2, 2)))
    sick = {"instance.state[redeem,r1]": 2}
    machine.await_problems("Instance redeem r1: Does not serve", telling=sick)
    machine.tell({"instance.state[redeem,r1]": 1})
    machine.await_problems()


def test_a_slow_rpc_is_told_and_ends_when_nobody_calls_it_slowly(machine: Machine) -> None:
    rpcs = ("RedeemService.GetOffer", "EntryService.UploadImage", "AuditService.Review")
    machine.discover(rpc=[{"{#RPC}": rpc} for rpc in rpcs])
    one_call = {f"rpc.{p}[{rpcs[2]}]": 9 for p in ("p95", "p99")}
    machine.tell(one_call)
    machine.beats(*[{f"rpc.{p}[{rpc}]": 3 for p in ("p95", "p99") for rpc in rpcs[:2]}] * JUDGED_BEATS)
    slow = {"rpc.p95[RedeemService.GetOffer]": 3}
    machine.await_problems("RPC RedeemService.GetOffer: p95 is high", telling=slow)
    # Its triggers are there now.
    machine.tell(one_call)
    quick = {"rpc.p95[RedeemService.GetOffer]": 0.001, "rpc.p99[RedeemService.GetOffer]": 3}
    machine.beats(*[quick] * 20 * JUDGED_BEATS)
    machine.await_problems("RPC RedeemService.GetOffer: p99 is high", telling=quick)


@pytest.mark.slow
def test_a_silent_sidecar_is_told_within_90_seconds(machine: Machine) -> None:
    machine.tell({"sidecar.alive": 1})
    began = time.monotonic()
    watch.soon(lambda: machine.problems() == {"Sidecar: Nothing was heard of this host"}, "a problem", seconds=120)
    assert time.monotonic() - began < 90
    machine.tell({"sidecar.alive": 1})
    machine.await_problems()
