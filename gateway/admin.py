"""Envoy's admin interface, over the socket that only its owner can open."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from registry import config

# It answers from memory, on the same machine.
_SECONDS = 5.0


class Away(Exception):
    """Envoy does not answer: it is not up yet, or no more."""


def is_ready(path: Path) -> bool:
    """Whether Envoy takes calls; False also while it waits for its first routes."""
    try:
        return _ask(path, "GET", "/ready")[0] == http.client.OK
    except Away:
        return False


def address(path: Path) -> str:
    """The host:port that apps reach; raises Away."""
    (listener,) = json.loads(_ask(path, "GET", "/listeners?format=json")[1])["listener_statuses"]
    place: dict[str, Any] = listener["local_address"]["socket_address"]
    return config.joined(str(place["address"]), int(place["port_value"]))


def under_way(path: Path) -> int:
    """How many requests of apps have no whole answer yet; raises Away."""
    text = _ask(path, "GET", "/stats?filter=^http.apps.downstream_rq_active$")[1]
    return int(text.rpartition(b":")[2] or 0)


def tell(path: Path, what: str) -> None:
    """Give an order such as "/drain_listeners"; raises Away."""
    _ask(path, "POST", what)


def _ask(path: Path, verb: str, what: str) -> tuple[int, bytes]:
    connection = _Connection(path)
    try:
        connection.request(verb, what)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Away(str(error)) from error
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))
