from base64 import b64encode
from urllib.parse import quote

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage

from services.chassis import errors
from services.chassis.errors import Violation, Words
from services.chassis.rules import words_of
from services.chassis.status import LOCALES, status_of

# What grpc-java takes at most, names and 32 bytes an entry included (RFC 9113, 6.5.2); others take more.
MOST = 8192
BETWEEN = Words("应在 -1 到 99 之间", "must be from -1 to 99")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("letter", ["x", "字", "😀"])
def test_whatever_was_wrong_the_trailers_fit(letter: str, locale: str) -> None:
    text = letter * 500
    wrong = errors.Invalid("INVALID_UPDATE_MASK", violations=[Violation(text, text)] * 100, path=text)
    status = status_of(wrong, locale)
    wire = {
        "grpc-status": "3",
        "grpc-message": quote(status.message),
        "grpc-status-details-bin": b64encode(status.SerializeToString()).decode(),
    }
    assert sum(len(name) + len(value) + 32 for name, value in wire.items()) <= MOST


def told(error: errors.Error, locale: str) -> tuple[str, str, dict[str, str]]:
    """What a person reads of a refusal and of its first field, and what a program does."""
    words, fields, info = LocalizedMessage(), BadRequest(), ErrorInfo()
    for detail in status_of(error, locale).details:
        for message in (words, fields, info):
            detail.Unpack(message)
    violations = [violation.description for violation in fields.field_violations]
    return words.message, "".join(violations), dict(info.metadata)


def test_a_value_is_told_in_words_and_kept_for_programs() -> None:
    refusal = errors.Denied("RIGHT_MISSING", right="VERIFY")
    chinese, english = told(refusal, "zh-CN"), told(refusal, "en")
    assert "验券" in chinese[0]
    assert "verify coupons" in english[0]
    assert chinese[2] == english[2] == {"right": "VERIFY"}


def test_a_field_is_told_in_the_language_of_the_caller() -> None:
    refusal = errors.invalid_field("stock", Words("至少为 1", "must be at least 1"))
    assert [told(refusal, locale)[1] for locale in LOCALES] == ["至少为 1", "must be at least 1"]
    plain = errors.invalid_field("schema", "is not JSON Schema")
    assert [told(plain, locale)[1] for locale in LOCALES] == ["is not JSON Schema"] * 2


@pytest.mark.parametrize(
    ("rule", "message", "expected"),
    [
        ("string.pattern", "does not match regex pattern `^a$`", Words("格式不正确", "is not in the expected form")),
        ("string.min_len", "must be at least 1 characters", Words("不能为空", "must not be empty")),
        ("int32.gte_lte", "must be greater than or equal to -1 and less than or equal to 99", BETWEEN),
        ("string.email", "must be a valid email address", "must be a valid email address"),
        ("some.rule", "", "some.rule"),
    ],
)
def test_a_broken_rule_is_told_without_its_code(rule: str, message: str, expected: Words | str) -> None:
    assert words_of(rule, message) == expected
