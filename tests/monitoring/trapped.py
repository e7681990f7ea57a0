"""A Zabbix host of a test's own with items that take what they are sent, and what came of it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from zabbix_utils import ZabbixAPI

from local.zabbix import Stack
from monitoring.zabbix import Sample, Sender

# Numbers of Zabbix's API.
FLOAT, TEXT = 0, 4
TRAPPER = 2
UNENCRYPTED, BY_PSK, BY_CERTIFICATE = 1, 2, 4
# On a busy machine; all of it takes a second or two.
PATIENCE = 60.0

Stored = list[tuple[int, int, str]]


def until(is_so: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Returns as soon as it is so; fails if it takes too long."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.02)


@dataclass
class Host:
    """Made by made(); `items` are ids by key."""

    api: ZabbixAPI
    name: str
    id: str
    items: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, keys: Iterable[str], kind: int = FLOAT) -> None:
        """Makes items."""
        keys = list(keys)
        wanted = [{"hostid": self.id, "name": key, "key_": key, "type": TRAPPER, "value_type": kind} for key in keys]
        self.items |= zip(keys, self.api.item.create(wanted)["itemids"], strict=True)
        self.kinds |= dict.fromkeys(keys, kind)

    def remove(self, key: str) -> None:
        """Deletes an item."""
        self.api.item.delete(self.items.pop(key))

    def stored(self, key: str) -> Stored:
        """Clock, nanoseconds and value of all that Zabbix has of an item, in order."""
        found = self.api.history.get(itemids=self.items[key], history=self.kinds[key], output="extend")
        return sorted((int(row["clock"]), int(row["ns"]), row["value"]) for row in found)

    def await_taken(self, stack: Stack) -> "Host":
        """Returns as soon as all items take values; what was sent for that is too old to be stored."""
        samples = [Sample(self.name, key, "0", 1, 0) for key in self.items]
        sender = Sender([("127.0.0.1", stack.port)])
        until(lambda: not sender.send(samples).refused, f"{self.name} is known to the server")
        return self


def made(api: ZabbixAPI, keys: Iterable[str] = (), **more: object) -> Host:
    """Makes a host with items that take values from anywhere."""
    groups = api.hostgroup.get(output=["groupid"], limit=1)
    name = f"test {uuid4().hex[:8]}"
    host = Host(api, name, api.host.create(host=name, groups=groups, **more)["hostids"][0])
    host.add(keys)
    return host
