"""The contracts as Envoy's transcoder wants them: a set of file descriptors, made from the installed stubs."""

from collections.abc import Iterator

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2

SERVICES = tuple(
    str(service.full_name)
    for module in (entry_pb2, publish_pb2, audit_pb2, share_pb2, redeem_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


def descriptor_set() -> bytes:
    """A serialized FileDescriptorSet of the services and of what errors carry, each file after those it imports."""
    stubs = (entry_pb2, publish_pb2, audit_pb2, share_pb2, redeem_pb2, status_pb2, error_details_pb2)
    files: dict[str, FileDescriptor] = {}
    for module in stubs:
        files |= {file.name: file for file in _with_imports(module.DESCRIPTOR)}
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found.SerializeToString(deterministic=True)


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file
