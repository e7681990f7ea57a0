"""Page tokens: where the next page begins, readable by nobody and good only for the caller and query that got it."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis import parameters
from services.chassis.call import Call
from services.chassis.errors import Invalid, Words, invalid_field

_NONCE_BYTES = 12

# Until a server gives the key that its fellows share, tokens are good in this process only.
_cipher = AESGCM(secrets.token_bytes(32))


@dataclass(frozen=True)
class Page:
    """What to list: at most `size` rows behind the row whose sort key is `after` (None: from the start)."""

    size: int
    after: Any


def encrypt_with(key: bytes) -> None:
    """Use this 32-byte key from now on; every process of a mesh must be given the same one."""
    global _cipher
    _cipher = AESGCM(key)


def page_of(token: str, size: int, call: Call, query: Mapping[str, Any]) -> Page:
    """The page that a request asks for.

    A size of 0 is the default, and too large a one is cut (AIP-158). Raises Invalid: INVALID_FIELD for a negative
    size, INVALID_PAGE_TOKEN for a token that was not made for this rpc, caller and query.
    """
    limits = parameters.current()
    if size < 0:
        raise invalid_field("page_size", Words("不能为负数", "is negative"))
    after = _open(token, call, query) if token else None
    return Page(min(size or limits.page_size, limits.page_size_limit), after)


def token_of(after: Any, call: Call, query: Mapping[str, Any]) -> str:
    """The token for the page behind `after`, the JSON-ready sort key of a page's last row; "" for None: no more."""
    if after is None:
        return ""
    # Encrypted, not only signed: sort keys hold row ids, and those are never shown.
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _cipher.encrypt(nonce, json.dumps(after).encode(), _binding(call, query))
    return urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def _open(token: str, call: Call, query: Mapping[str, Any]) -> Any:
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        return json.loads(_cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _binding(call, query)))
    except (ValueError, InvalidTag) as error:
        raise Invalid("INVALID_PAGE_TOKEN") from error


def _binding(call: Call, query: Mapping[str, Any]) -> bytes:
    asked = [call.rpc, call.principal.role, call.principal.subject, query]
    return json.dumps(asked, sort_keys=True, default=str).encode()
