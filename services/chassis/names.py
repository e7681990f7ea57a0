"""Names of resources on the wire: a collection and a random uid, so that nothing can be counted or guessed."""

import re
import secrets
from base64 import b32encode

from services.chassis.errors import Words, invalid_field

# What any resource may be called: random uids, the content hashes of images, the words that name templates.
_UID = re.compile(r"[a-z0-9-]{1,64}")


def new_uid() -> str:
    """100 random bits as 20 characters of lower-case base32."""
    return b32encode(secrets.token_bytes(15)).decode().lower()[:20]


def name(collection: str, uid: str) -> str:
    """`name("stores", uid)` is "stores/{uid}"."""
    return f"{collection}/{uid}"


def uid_of(collection: str, name: str, field: str = "name") -> str:
    """The uid in a name; raises Invalid(INVALID_FIELD) for `field` when it is not a name of that collection."""
    head, _, uid = name.partition("/")
    if head != collection or not _UID.fullmatch(uid):
        raise invalid_field(field, Words("不是有效的名称", f"is not a name of the form {collection}/{{uid}}"))
    return uid
