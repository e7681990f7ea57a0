"""What the contracts declare, read from the .proto files with their comments."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default

from sharemesh.v1 import (  # noqa: F401 - loading the stubs fills the pool.
    audit_pb2,
    entry_pb2,
    publish_pb2,
    redeem_pb2,
    share_pb2,
)

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("Entry", "Publish", "Audit", "Share", "Redeem")
# FileDescriptorProto.service, ServiceDescriptorProto.method.
_SERVICE, _METHOD = 6, 2


@dataclass(frozen=True)
class Rpc:
    """One RPC: `service` is "entry", `comment` what stands above it."""

    service: str
    name: str
    comment: str
    descriptor: MethodDescriptor


@cache
def rpcs() -> dict[str, Rpc]:
    """Every RPC of the five services by its name, which is unique among them."""
    comments = dict(_comments())
    found = [
        Rpc(name.lower(), method.name, comments.get(method.full_name, ""), method)
        for name in SERVICES
        for method in Default().FindServiceByName(f"sharemesh.v1.{name}Service").methods
    ]
    by_name = {rpc.name: rpc for rpc in found}
    assert len(by_name) == len(found), "two services have an RPC of the same name"
    return by_name


def _comments() -> Iterator[tuple[str, str]]:
    """The leading comment of every RPC by its full name."""
    for file in _described().file:
        for location in file.source_code_info.location:
            path = list(location.path)
            if len(path) == 4 and path[0] == _SERVICE and path[2] == _METHOD:
                service = file.service[path[1]]
                name = f"{file.package}.{service.name}.{service.method[path[3]].name}"
                yield name, location.leading_comments.strip()


def _described() -> FileDescriptorSet:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "contracts.binpb"
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos/sharemesh").rglob("*.proto"))
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "--include_source_info"]
        run([*command, f"--descriptor_set_out={out}", *files], cwd=ROOT, check=True)
        return FileDescriptorSet.FromString(out.read_bytes())
