"""Where the services are, from one line of text: a static list of addresses, or the Consul that knows them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STATIC = "static:"
CONSUL = "consul://"
CONSUL_TLS = "consul+tls://"


@dataclass(frozen=True)
class Static:
    """Targets by service name, fixed for the life of the process."""

    targets: Mapping[str, str]


@dataclass(frozen=True)
class Consul:
    """The agents or servers of one Consul, each host:port, in the order in which they are tried."""

    addresses: tuple[str, ...]
    is_tls: bool = False


def parse(text: str) -> Static | Consul:
    """What "static:entry=host:port,…", "consul://host:8500,…" or "consul+tls://host:8501" says.

    ValueError says what is wrong with it.
    """
    if text.startswith(STATIC):
        return _static(text.removeprefix(STATIC))
    for scheme in (CONSUL, CONSUL_TLS):
        if text.startswith(scheme):
            return _consul(text.removeprefix(scheme).removesuffix("/"), scheme == CONSUL_TLS)
    raise ValueError(f"begins with none of {STATIC} {CONSUL} {CONSUL_TLS}")


def token_in(file: Path) -> Callable[[], str]:
    """What gives the ACL token that stands in the file, read at each call: a rotated one is used at once.

    An empty file is no token; the callable raises OSError when there is none, ValueError when it holds no text.
    """

    def token() -> str:
        return next(iter(file.read_text(encoding="ascii").split()), "")

    return token


def split(address: str, lowest_port: int = 1) -> tuple[str, int]:
    """Host (IPv6 without its brackets) and port of "host:port"; ValueError unless it is that.

    A `lowest_port` of 0 is for whoever listens: any free one.
    """
    host, _, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    if not bare or (":" in bare and not is_bracketed) or any(sign in host for sign in "/?#@ "):
        raise ValueError(f"{address!r} is not host:port")
    if not (port.isascii() and port.isdecimal() and lowest_port <= int(port) < 65536):
        raise ValueError(f"{address!r} is not host:port")
    return bare, int(port)


def joined(host: str, port: int) -> str:
    """The reverse of split()."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _static(text: str) -> Static:
    targets: dict[str, str] = {}
    for entry in filter(None, text.split(",")):
        service, _, address = (part.strip() for part in entry.partition("="))
        host, _, port = address.rpartition(":")
        if not service or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{entry!r} is not service=host:port")
        if service in targets:
            raise ValueError(f"{service} is listed twice")
        targets[service] = address
    return Static(targets)


def _consul(text: str, is_tls: bool) -> Consul:
    if "@" in text or "?" in text:
        # Whatever stands there may be the token itself: it is not repeated.
        raise ValueError("holds more than addresses: an ACL token belongs in the file of --registry-token")
    addresses = tuple(address.strip() for address in text.split(","))
    for address in addresses:
        split(address)
    if len(set(addresses)) < len(addresses):
        raise ValueError("lists an address twice")
    return Consul(addresses, is_tls)
