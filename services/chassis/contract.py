"""What the contract itself says of each RPC: whom it serves, what it takes, which rules its fields keep."""

from collections.abc import Iterator
from dataclasses import dataclass

import protovalidate
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis import parameters, rules
from services.chassis.call import ANONYMOUS, Principal
from services.chassis.errors import Denied, Invalid, Unauthenticated, Violation, Words
from sharemesh.v1 import options_pb2


@dataclass(frozen=True)
class Method:
    """One RPC of the contract; `path` is "/sharemesh.v1.EntryService/GetStore", `rpc` "EntryService.GetStore"."""

    path: str
    rpc: str
    roles: frozenset[str]
    request: type[Message]
    is_stream: bool
    # Whether it takes a file, which has its own limit.
    is_upload: bool
    # Whether its requests carry a request_id, by which a repeated one is known.
    is_replayable: bool

    def admit(self, principal: Principal) -> None:
        """Raises Unauthenticated or Denied if the RPC does not serve this role; without a role option, nobody."""
        if principal.role in self.roles:
            return
        if principal.role == ANONYMOUS:
            raise Unauthenticated("TOKEN_MISSING")
        raise Denied("ROLE_NOT_ALLOWED")

    def parse(self, raw: bytes) -> Message:
        """The request in these bytes, without fields unknown here; Invalid if they are not one or break its rules."""
        most = parameters.current().request_bytes
        if len(raw) > most and not self.is_upload:
            above = Words(f"提交的内容超过 {most // 1024} KiB", f"the request is above {most // 1024} KiB")
            raise Invalid("INVALID_FIELD", violations=[Violation("", above)])
        try:
            request = self.request.FromString(raw)
        except DecodeError as error:
            wanted = self.request.DESCRIPTOR.full_name
            garbled = Words(
                "请求的内容无法识别，或含有非 UTF-8 的文字",
                f"the bytes are not a {wanted}, or a text in it is not UTF-8",
            )
            raise Invalid("INVALID_FIELD", violations=[Violation("", garbled)]) from error
        request.DiscardUnknownFields()
        violations = protovalidate.collect_violations(request)
        if violations:
            raise Invalid("INVALID_FIELD", violations=map(_violation, violations))
        return request


def methods_of(service: str) -> dict[str, Method]:
    """The RPCs of a service ("sharemesh.v1.EntryService") by path; their rules are compiled, so a bad one raises now.

    Raises KeyError for a service whose stubs are not loaded.
    """
    return {method.path: method for method in _methods(Default().FindServiceByName(service))}


def _methods(service: ServiceDescriptor) -> Iterator[Method]:
    for method in service.methods:
        if method.client_streaming:
            raise ValueError(f"{method.full_name}: streams of requests are not served")
        request = GetMessageClass(method.input_type)
        protovalidate.collect_violations(request())
        roles = method.GetOptions().Extensions[options_pb2.roles]
        yield Method(
            path=f"/{service.full_name}/{method.name}",
            rpc=f"{service.name}.{method.name}",
            roles=frozenset(options_pb2.Role.Name(role).removeprefix("ROLE_") for role in roles),
            request=request,
            is_stream=method.server_streaming,
            is_upload=any(field.type == FieldDescriptor.TYPE_BYTES for field in method.input_type.fields),
            is_replayable="request_id" in method.input_type.fields_by_name,
        )


def _violation(violation: protovalidate.Violation) -> Violation:
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}"
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return Violation(path.removeprefix("."), rules.words_of(violation.proto.rule_id, violation.proto.message))
