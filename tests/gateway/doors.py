"""Gateways as an operator starts them, before one real mesh, and the plainest of clients."""

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from local import envoy
from local.mesh import ROOT, Mesh
from local.process import Process
from services.chassis.settings import Settings
from services.chassis.tokens import DevIssuer

# No call here takes a second; a busy machine takes many times that.
SECONDS = 20.0


@dataclass(frozen=True)
class Door:
    """A gateway that runs: where it is, its process, its files, its access log."""

    address: str
    process: Process
    folder: Path
    log: Path

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def lines(self) -> list[dict[str, Any]]:
        """What the access log has by now; of its last line there may be a part."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal."""
        return str(next(detail["reason"] for detail in self.json["details"] if "reason" in detail))


@contextmanager
def opened(mesh: Mesh, folder: Path, *flags: str, **environment: str) -> Iterator[Door]:
    """A gateway of its own folder and port, with these flags; ended with the body."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "services", "gateway", "--listen", "127.0.0.1:0", "--envoy", str(envoy.find())]
    # Nobody balances here, so nobody has to be told first.
    command += ["--drain-seconds", "0", "--logs", str(folder), *flags]
    told = {**os.environ, **mesh.environment, **environment}
    process = Process("gateway", "gateway", command, ROOT, folder / "gateway.log", told)
    process.launch()
    try:
        process.await_address()
        yield Door(process.address, process, mesh.directory / "var" / "gateway", folder / "gateway.jsonl")
    finally:
        process.stop()


def issuer(mesh: Mesh) -> DevIssuer:
    """Who signs the mesh's tokens."""
    settings = Settings()
    return DevIssuer(mesh.directory / "var" / "dev-issuer.pem", settings.issuer, settings.audience)


def bearer(mesh: Mesh, role: str = "merchant", subject: str = "lin", ttl: float = 3600) -> dict[str, str]:
    """The header that says so."""
    return {"authorization": f"Bearer {issuer(mesh).issue(role, subject, ttl)}"}


def ask(door: Door, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own; a body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection(door.host, door.port, timeout=SECONDS)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("content-type", "application/json")
    try:
        connection.request(verb, path, body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def details_of(error: Any, kind: Message) -> Message | None:
    """The detail of this kind in a gRPC error's trailers."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                if detail.Unpack(kind):
                    return kind
    return None


def reason_of(error: Any) -> str:
    """The reason of a gRPC error."""
    info = ErrorInfo()
    details_of(error, info)
    return str(info.reason)
