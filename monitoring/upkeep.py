"""Brings what Zabbix has to what it shall have, and remembers what was made, changed or kept."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zabbix_utils import ZabbixAPI

MADE, CHANGED, KEPT = "made", "changed", "kept"

# What the API calls the number of each kind, and what it must be asked for beside the plain properties.
_KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "hostgroup": ("groupid", {}),
    "mediatype": ("mediatypeid", {"selectMessageTemplates": "extend"}),
    "usergroup": ("usrgrpid", {"selectHostGroupRights": "extend"}),
    "user": ("userid", {"selectMedias": "extend", "selectUsrgrps": ["usrgrpid"]}),
    "action": (
        "actionid",
        {
            "selectFilter": "extend",
            "selectOperations": "extend",
            "selectRecoveryOperations": "extend",
            "selectUpdateOperations": "extend",
        },
    ),
}
# Whatever they are asked for as, these are what a user and a group of users are called by.
_NAMED_BY = {"user": "username"}


@dataclass(frozen=True)
class Outcome:
    """What became of one thing: its kind in words, its name, and MADE, CHANGED or KEPT."""

    what: str
    name: str
    outcome: str


@dataclass
class Upkeep:
    """The things of one Zabbix, by its API; may be run again at any time."""

    api: ZabbixAPI
    outcomes: list[Outcome] = field(default_factory=list)

    def keep(self, kind: str, what: str, name: str, wanted: Mapping[str, Any], at_first: Mapping[str, Any]) -> str:
        """Make the one of that name, or change where it differs from what is wanted; returns its number.

        `at_first` is given when it is made, and never looked at again.
        """
        number, _ = _KINDS[kind]
        one = {_NAMED_BY.get(kind, "name"): name}
        objects = getattr(self.api, kind)
        found = self.found(kind, name)
        if found is None:
            made = objects.create(**one, **wanted, **at_first)
            self.told(what, name, MADE)
            return str(made[f"{number}s"][0])
        if not is_as_wanted(found, wanted):
            objects.update(**{number: found[number]}, **wanted)
            self.told(what, name, CHANGED)
        else:
            self.told(what, name, KEPT)
        return str(found[number])

    def found(self, kind: str, name: str) -> dict[str, Any] | None:
        """What there is of that kind and name."""
        _, asked = _KINDS[kind]
        rows = getattr(self.api, kind).get(output="extend", filter={_NAMED_BY.get(kind, "name"): name}, **asked)
        return dict(rows[0]) if rows else None

    def told(self, what: str, name: str, outcome: str) -> None:
        """Remember what became of something."""
        self.outcomes.append(Outcome(what, name, outcome))


def is_as_wanted(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is found; the API tells numbers as text, more than was asked, and in any order."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(is_as_wanted(found.get(name), one) for name, one in wanted.items())
    if isinstance(wanted, Collection) and not isinstance(wanted, str):
        return isinstance(found, Collection) and len(found) == len(wanted) and _each_is_found(found, wanted)
    return str(found) == str(wanted)


def _each_is_found(found: Iterable[Any], wanted: Iterable[Any]) -> bool:
    rest = list(found)
    return all(any(is_as_wanted(one, want) for one in rest) for want in wanted)
