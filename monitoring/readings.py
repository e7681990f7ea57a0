"""What the sidecar's readers tell: values by Zabbix item key, as plain numbers and text."""

import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

# A number of a unit that the template names, or text.
Value = float | int | str
# By item key, such as "sharemesh.host.cpu[user]". A key that ends in DISCOVERY is a low-level discovery rule's.
Readings = dict[str, Value]

DISCOVERY = ".discovery"
PREFIX = "sharemesh."
# As many as a machine with a hundred instances has; they come again with each beat.
_KEYS = 8192


@lru_cache(maxsize=_KEYS)
def key(name: str, *parameters: str) -> str:
    """The item key of a name without its prefix, such as "host.cpu", with parameters quoted where Zabbix wants it.

    https://www.zabbix.com/documentation/7.0/en/manual/config/items/item/key
    """
    return PREFIX + name + (f"[{','.join(map(_quoted, parameters))}]" if parameters else "")


def _quoted(parameter: str) -> str:
    # Zabbix puts discovered values into keys by the same rule, so both come to the same key.
    is_plain = not parameter.startswith(('"', " ", "[")) and not any(sign in parameter for sign in ",]")
    return parameter if is_plain else '"' + parameter.replace('"', '\\"') + '"'


def discovery(rows: Iterable[Mapping[str, str]]) -> str:
    """The value of a discovery rule: a JSON list of rows such as {"{#FSNAME}": "/"}, the same for the same rows."""
    return json.dumps(sorted(rows, key=lambda row: sorted(row.items())), ensure_ascii=False, sort_keys=True)


class Rates:
    """Counters that only grow, as rates a second between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def of(self, name: str, count: float, now: float) -> float | None:
        """The rate since the last look at `now` seconds (of a monotonic clock).

        None at the first look, and when the counter began anew.
        """
        before = self._last.get(name)
        self._last[name] = count, now
        if before is None or now <= before[1] or count < before[0] or not math.isfinite(count):
            return None
        return (count - before[0]) / (now - before[1])

    def keep(self, names: Iterable[str]) -> None:
        """Forget all others: what they counted is gone."""
        wanted = set(names)
        self._last = {name: last for name, last in self._last.items() if name in wanted}
