"""What tests of alerts share: a Zabbix that is provisioned by the command, and machines that tell it values."""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zabbix_utils import ItemValue, Sender, ZabbixAPI

from local.zabbix import Stack
from monitoring import alerts, plan
from monitoring import provision as provisioning

ROOT = Path(__file__).resolve().parent.parent.parent
# A value becomes a problem in hundredths of a second, an item is made in one; a busy machine takes many times that.
AWAIT_SECONDS = 60.0
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What the command left behind."""

    code: int
    out: str
    err: str


def provision(stack: Stack, folder: Path, *arguments: str, password: str = "") -> Done:
    """Does what `sharemesh zabbix provision` does, as the one who may do everything, whatever comes of it."""
    file = folder / "password"
    file.write_text(password or stack.password)
    return run("--url", stack.url, "--user", stack.user, "--password-file", str(file), *arguments)


def run(*arguments: str) -> Done:
    """Does what `sharemesh zabbix provision` does with these arguments alone, in this process: it is loaded once."""
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = provisioning.run(parser.parse_args(arguments))
    return Done(code, out.getvalue(), err.getvalue())


def command(*arguments: str, **environment: str) -> Done:
    """Runs the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "services", "zabbix", "provision", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=AWAIT_SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def outcomes(done: Done) -> dict[str, str]:
    """What the command's table says became of each thing, such as {"host machine-1": "made"}."""
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()[2:] if line.strip()]
    return {" ".join(row[:-1]): row[-1] for row in rows}


def soon(ask: Callable[[], T | None], what: str, seconds: float = AWAIT_SECONDS) -> T:
    """The first answer that is not nothing; fails if there is none in time."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return answer


@contextmanager
def tidy(api: ZabbixAPI) -> Iterator[None]:
    """Removes the hosts and the receivers of alerts that were made meanwhile.

    Of a host that is left, Zabbix would say that nothing is heard; and while it tries to tell of a problem a receiver
    that is gone, it tells nobody of the problem's end.
    """
    before = {one["hostid"] for one in api.host.get(output=["hostid"])}
    told = receivers(api)
    yield
    made = {one["hostid"] for one in api.host.get(output=["hostid"])} - before
    if made:
        api.host.delete(*made)
    for user, medias in receivers(api).items():
        kept = [one for one in medias if one in told.get(user, [])]
        if kept != medias:
            api.user.update(userid=user, medias=kept)


def receivers(api: ZabbixAPI) -> dict[str, list[dict[str, str]]]:
    """Where whom is told of problems, by the id of the user that `sharemesh zabbix provision` makes."""
    names = ["mediatypeid", "sendto", "active", "severity", "period"]
    users = api.user.get(filter={"username": alerts.USER}, output=["userid"], selectMedias=names)
    return {one["userid"]: [{name: media[name] for name in names} for media in one["medias"]] for one in users}


@dataclass
class Machine:
    """A host in Zabbix, and values as its sidecar would tell them, which come by another client than ours."""

    host: str
    stack: Stack
    api: ZabbixAPI
    # What is told besides, with all that is told.
    beat: str = "sidecar.alive"

    def __post_init__(self) -> None:
        self._sender = Sender("127.0.0.1", self.stack.port, timeout=30)
        self._tick = 0

    def tell(self, values: Mapping[str, object]) -> None:
        """Sends values by key without prefix, as of now, and waits until Zabbix knows all of their items."""
        now = int(time.time())
        self.send((key, value, now) for key, value in values.items())

    def beats(self, *beats: Mapping[str, object]) -> None:
        """Sends several beats a second apart, the last as of now."""
        begin = int(time.time()) + 1 - len(beats)
        self.send((key, value, begin + number) for number, beat in enumerate(beats) for key, value in beat.items())

    def send(self, values: Iterable[tuple[str, object, int]]) -> None:
        """Sends values in order, each with its clock, and a heartbeat; again until none is refused."""
        self._tick += 1
        rest = [
            ItemValue(self.host, f"sharemesh.{key}", str(value), at, self._tick * 1000 + number)
            for number, (key, value, at) in enumerate([*values, (self.beat, 1, int(time.time()))])
        ]

        def is_taken() -> bool:
            return bool(self._sender.send(rest).failed == 0)

        soon(is_taken, f"items of {self.host} for {sorted({one.key for one in rest})}")

    def discover(self, **rows: Iterable[Mapping[str, str]]) -> None:
        """Tells discovery rules their rows, by name with _ for dots, and waits for what they make."""
        self.tell({f"{rule.replace('_', '.')}.discovery": json.dumps(list(row)) for rule, row in rows.items()})

    def problems(self) -> set[str]:
        """The names of the triggers that are in PROBLEM now."""
        found = self.api.trigger.get(host=self.host, output=["description"], filter={"value": 1}, monitored=True)
        return {one["description"] for one in found}

    def await_problems(self, *names: str, telling: Mapping[str, object] | None = None) -> None:
        """Returns as soon as these triggers are in PROBLEM, and no others.

        Meanwhile it goes on `telling`, as a sidecar does: Zabbix may know an item that was just discovered, and not its
        triggers yet.
        """

        seen: set[str] = set()

        def are_they() -> bool:
            nonlocal seen
            seen = self.problems()
            if seen == set(names):
                return True
            if telling:
                self.tell(telling)
            return False

        try:
            soon(are_they, f"{names} on {self.host}")
        except AssertionError as error:
            error.add_note(f"there were {seen or 'none'}")
            raise

    def set_macro(self, name: str, value: str) -> None:
        """Gives the host its own threshold."""
        (host,) = self.api.host.get(filter={"host": self.host}, output=["hostid"])
        self.api.usermacro.create(hostid=host["hostid"], macro=name, value=value)


def alerts_of(api: ZabbixAPI, host: str) -> list[dict[str, Any]]:
    """What Zabbix told, or tried to tell, of a host."""
    (found,) = api.host.get(filter={"host": host}, output=["hostid"])
    return list(api.alert.get(hostids=found["hostid"], output="extend"))
