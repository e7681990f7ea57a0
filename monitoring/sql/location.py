"""Where the services' database is, from its URL."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

Address = tuple[str, int]

PORT = 3306
# A host's name or IPv4 address, or an IPv6 address in brackets; and its port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?")
_FORMS = "is neither sqlite:///file nor mysql://user:password@host:port/name"


@dataclass(frozen=True)
class Servers:
    """A database of MariaDB or MySQL and its servers, of which the first that answers is asked."""

    addresses: tuple[Address, ...]
    user: str
    password: str = field(repr=False)
    name: str


def parse(url: str) -> Path | Servers:
    """What a URL names such as the services take: the file of an SQLite database, or the servers of another.

    It is sqlite:///relative, sqlite:////absolute, or mysql://user:password@host:port/name with one host:port or several
    with commas between. Raises ValueError for any other, in words that hold no part of it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_FORMS) from None  # Its words may hold a part of the password.
    name = unquote(parts.path[1:])
    if name and parts.scheme == "sqlite" and not parts.netloc:
        return Path(name)
    if name and parts.scheme == "mysql" and parts.netloc:
        credentials, _, places = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        return Servers(addresses(places), unquote(user), unquote(password), name)
    raise ValueError(_FORMS)


def addresses(text: str) -> tuple[Address, ...]:
    """The addresses in "host,host:port,[::1]:port". Raises ValueError, in words that repeat no part of the text."""
    found = []
    for place, one in enumerate(text.split(","), 1):
        match = _HOST.fullmatch(one)
        if match is None or not 0 < int(match[3] or PORT) < 65536:
            raise ValueError(f"names no host:port at place {place} of its list of hosts")
        found.append((match[1] or match[2], int(match[3] or PORT)))
    return tuple(found)
