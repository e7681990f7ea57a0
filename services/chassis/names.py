"""Names of resources on the wire: a collection and a random uid, so that nothing can be counted or guessed."""

import re
import secrets
import threading
import time

from services.chassis.errors import Words, invalid_field

# What any resource may be called: random uids, the content hashes of images, the words that name templates.
_UID = re.compile(r"[a-z0-9-]{1,64}")
# Five bits of a byte tell the letter (RFC 4648).
_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8


def new_uid() -> str:
    """100 random bits as 20 characters of lower-case base32."""
    return secrets.token_bytes(20).translate(_BASE32).decode()


def name(collection: str, uid: str) -> str:
    """`name("stores", uid)` is "stores/{uid}"."""
    return f"{collection}/{uid}"


def uid_of(collection: str, name: str, field: str = "name") -> str:
    """The uid in a name; raises Invalid(INVALID_FIELD) for `field` when it is not a name of that collection."""
    head, _, uid = name.partition("/")
    if head != collection or not _UID.fullmatch(uid):
        raise invalid_field(field, Words("不是有效的名称", f"is not a name of the form {collection}/{{uid}}"))
    return uid


# Which process made an id: enough that two processes hardly ever share a number, and share a microsecond still less.
_NODE_BITS = 10
_node = secrets.randbelow(1 << _NODE_BITS)
_last = 0
_turn = threading.Lock()


def new_id() -> int:
    """A key for a row, in 63 bits: microseconds since 1970, later than the one before, then the process's number.

    So a key is known before its row is written, and what is written together needs no second round trip for it.
    """
    global _last
    with _turn:
        _last = max(_last + 1, time.time_ns() // 1000)
        return _last << _NODE_BITS | _node
