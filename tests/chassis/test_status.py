from base64 import b64encode
from urllib.parse import quote

import pytest

from services.chassis import errors
from services.chassis.errors import Violation
from services.chassis.status import LOCALES, status_of

# What grpc-java takes at most, names and 32 bytes an entry included (RFC 9113, 6.5.2); others take more.
MOST = 8192


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
