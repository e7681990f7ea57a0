"""What Envoy itself answers, told as the services tell it: google.rpc.Status, as JSON or in gRPC's trailers."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "sharemesh"
# Envoy's buckets are filled once a second.
RETRY_SECONDS = 1
# What the transcoder leaves in a request.
TRANSCODED = "x-envoy-original-path"
EXPIRED = "jwt_authn_access_denied{Jwt_is_expired}"


@dataclass(frozen=True)
class Reply:
    """One of Envoy's own answers: the HTTP status it gives, and code, reason and words to give instead."""

    http: int
    code: int
    reason: str
    # Empty for Envoy's own words, which tell where a JSON document is wrong.
    message: str = ""
    # Envoy's name of the cause, where one HTTP status has several.
    cause: str = ""
    is_retryable: bool = False


REPLIES = (
    Reply(400, Code.INVALID_ARGUMENT, "INVALID_FIELD", cause="grpc_json_transcode"),
    Reply(400, Code.INVALID_ARGUMENT, "INVALID_FIELD", "this is not a request that can be read"),
    Reply(401, Code.UNAUTHENTICATED, "TOKEN_EXPIRED", "the token has expired", cause=EXPIRED),
    Reply(503, Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", "the issuer's keys are away", "Jwks", is_retryable=True),
    Reply(401, Code.UNAUTHENTICATED, "TOKEN_INVALID", "the token is not valid"),
    Reply(403, Code.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", "this web page's origin may not call"),
    Reply(404, Code.NOT_FOUND, "RESOURCE_NOT_FOUND", "there is no such path"),
    Reply(408, Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED", "the request took too long to arrive"),
    Reply(413, Code.INVALID_ARGUMENT, "INVALID_FIELD", "the request is too large"),
    Reply(429, Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", "too many calls", is_retryable=True),
    Reply(431, Code.INVALID_ARGUMENT, "INVALID_FIELD", "the headers are too large"),
    Reply(503, Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", "the service is away for a moment", is_retryable=True),
    Reply(504, Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED", "the service took too long"),
)


def local_replies() -> dict[str, Any]:
    """Envoy's LocalReplyConfig; the first mapper that fits counts."""
    return {"mappers": [mapper for reply in REPLIES for mapper in _mappers(reply)]}


def _mappers(reply: Reply) -> Iterator[dict[str, Any]]:
    status = _status(reply)
    headers: list[dict[str, Any]] = [
        {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}},
        # The transcoder's requests look like gRPC; their callers want JSON.
        {"header": {"name": TRANSCODED, "present_match": False}},
    ]
    details = base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")
    yield {
        "filter": _all(reply, headers),
        "headers_to_add": [
            _header("grpc-status", str(reply.code)),
            *([_header("grpc-status-details-bin", details)] if reply.message else []),
        ],
        **({"body": {"inline_string": reply.message}} if reply.message else {}),
    }
    yield {"filter": _all(reply), "body_format_override": {"json_format": _as_json(reply)}}


def _all(reply: Reply, headers: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    status = {"value": {"default_value": reply.http, "runtime_key": "none"}, "op": "EQ"}
    filters: list[dict[str, Any]] = [{"status_code_filter": {"comparison": status}}]
    filters += [{"header_filter": header} for header in headers]
    if reply.cause:
        kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
        cel = {"@type": kind, "expression": f"response.code_details.contains('{reply.cause}')"}
        filters.append({"extension_filter": {"name": "cause", "typed_config": cel}})
    return {"and_filter": {"filters": filters}} if len(filters) > 1 else filters[0]


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _status(reply: Reply) -> Status:
    status = Status(code=reply.code, message=reply.message)
    details: list[Any] = [ErrorInfo(reason=reply.reason, domain=DOMAIN)]
    if reply.is_retryable:
        details.append(RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS)))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _as_json(reply: Reply) -> dict[str, Any]:
    prefix = "type.googleapis.com/google.rpc."
    details: list[dict[str, Any]] = [{"@type": prefix + "ErrorInfo", "reason": reply.reason, "domain": DOMAIN}]
    if reply.is_retryable:
        details.append({"@type": prefix + "RetryInfo", "retryDelay": f"{RETRY_SECONDS}s"})
    return {"code": int(reply.code), "message": reply.message or "%LOCAL_REPLY_BODY%", "details": details}
