"""The one table from refusals to gRPC statuses, and the details that go with each."""

import re
from collections.abc import Iterable, Iterator, Mapping

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from services.chassis import errors
from sharemesh.v1 import error_reason_pb2, options_pb2

DOMAIN = "sharemesh"
LOCALES = ("zh-CN", "en")

CODES = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Denied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}

_PREFIX = "ERROR_REASON_"
_REASONS = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name

# A status travels in the trailers, and clients refuse trailers of more than 8 KiB, base64 included.
_VIOLATIONS = 16
_VIOLATIONS_BYTES = 3000
_TEXT = 120


def is_known(error: errors.Error) -> bool:
    """Whether the table has this kind of refusal, and the contract its reason."""
    return type(error) in CODES and _PREFIX + error.reason in _REASONS


def status_of(error: errors.Error, locale: str) -> Status:
    """The whole answer to a refusal that is_known()."""
    metadata = {key: _cut(value) for key, value in error.metadata.items()}
    told = _told(error.reason, metadata)
    status = Status(code=CODES[type(error)].value[0], message=_cut(error.message or told.en))
    details: list[Message] = [
        ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
        LocalizedMessage(locale=locale, message=told.told(locale)),
    ]
    if error.violations:
        details.append(BadRequest(field_violations=_fitting(error.violations[:_VIOLATIONS], locale)))
    if isinstance(error, errors.Exhausted):
        details.append(QuotaFailure(violations=[QuotaFailure.Violation(subject=error.reason, description=told.en)]))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(RetryInfo(retry_delay=delay))
    status.details.extend(_packed(detail) for detail in details)
    return status


def message_of(reason: str, metadata: Mapping[str, str], locale: str) -> str:
    """What a reason of the contract says to a person, filled with its metadata; `locale` is one of LOCALES."""
    return _told(reason, metadata).told(locale)


def locale_of(accept_language: str | None) -> str:
    """Which of LOCALES an Accept-Language list prefers; zh-CN if it names none."""
    weighed: list[tuple[float, str]] = []
    for entry in (accept_language or "").split(","):
        match = re.fullmatch(r"\s*(zh|en)\b[\w-]*\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*", entry, re.IGNORECASE)
        if match:
            weighed.append((float(match[2] or 1), "en" if match[1].lower() == "en" else "zh-CN"))
    return max(weighed, key=lambda pair: pair[0])[1] if weighed else LOCALES[0]


def _told(reason: str, metadata: Mapping[str, str]) -> errors.Words:
    """The reason's texts, filled; a value that the contract has words for is told in them."""
    options = _REASONS[_PREFIX + reason].GetOptions()
    text, words = options.Extensions[options_pb2.message], options.Extensions[options_pb2.words]
    chinese, english = {word.value: word.zh_cn for word in words}, {word.value: word.en for word in words}
    return errors.Words(
        _fill(text.zh_cn, {key: chinese.get(value, value) for key, value in metadata.items()}),
        _fill(text.en, {key: english.get(value, value) for key, value in metadata.items()}),
    )


def _fill(text: str, metadata: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: metadata.get(place[1], ""), text)


def _fitting(violations: Iterable[errors.Violation], locale: str) -> Iterator[BadRequest.FieldViolation]:
    """The first violations that there is room for: who mends these is told of the next."""
    room = _VIOLATIONS_BYTES
    for violation in violations:
        field = _field(violation, locale)
        room -= field.ByteSize()
        if room < 0:
            return
        yield field


def _field(violation: errors.Violation, locale: str) -> BadRequest.FieldViolation:
    words = violation.description
    description = words if isinstance(words, str) else words.told(locale)
    return BadRequest.FieldViolation(field=_cut(violation.field), description=_cut(description))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
