"""Where the services are, from one line of text: a static list of addresses."""

from collections.abc import Mapping
from dataclasses import dataclass

SCHEME = "static:"


@dataclass(frozen=True)
class Addresses:
    """Targets by service name, fixed for the life of the process."""

    targets: Mapping[str, str]


def parse(text: str) -> Addresses:
    """The addresses in "static:entry=host:port,publish=host:port"; ValueError says what is wrong with it."""
    if not text.startswith(SCHEME):
        raise ValueError(f"does not begin with {SCHEME}")
    targets: dict[str, str] = {}
    for entry in filter(None, text.removeprefix(SCHEME).split(",")):
        service, _, address = (part.strip() for part in entry.partition("="))
        host, _, port = address.rpartition(":")
        if not service or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{entry!r} is not service=host:port")
        if service in targets:
            raise ValueError(f"{service} is listed twice")
        targets[service] = address
    return Addresses(targets)
