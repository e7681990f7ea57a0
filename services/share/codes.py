"""What share signs: the short codes that links carry, and the marks that visitors leave."""

import hmac
import secrets

from services.chassis.errors import Invalid
from services.chassis.keys import Keyring

# Crockford's base32 (https://www.crockford.com/base32.html): no I, L, O or U, so that a code can be read out.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011", "- ")
_RANDOM = 8
_SIGNATURE = 4
_MARK = 40


class ShareCodes:
    """Makes and reads codes of 12 characters: 8 random ones, stored with the share, and 4 of a keyed MAC over them.

    All but one of a million invented codes are refused without asking the database.
    """

    def __init__(self, keys: Keyring) -> None:
        self._key = keys.derive("share-code")

    def new(self) -> str:
        """The random part of a new code (40 bits)."""
        return "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))

    def signed(self, part: str) -> str:
        """The code that links carry, of its random part."""
        mac = hmac.digest(self._key, part.encode(), "sha256")
        return part + "".join(_ALPHABET[byte % 32] for byte in mac[:_SIGNATURE])

    def read(self, code: str) -> str:
        """The random part of a code as a person may have typed it; Invalid(SHARE_CODE_INVALID) for a forged one."""
        typed = code.upper().translate(_READ_AS)
        part = typed[:_RANDOM]
        if len(part) < _RANDOM or not hmac.compare_digest(typed.encode(), self.signed(part).encode()):
            raise Invalid("SHARE_CODE_INVALID")
        return part


class Visitors:
    """Turns the ids that devices keep into marks that nobody without the key can trace back."""

    def __init__(self, keys: Keyring) -> None:
        self._key = keys.derive("visitor")

    def mark(self, visitor_id: str, place: str = "") -> str:
        """The visitor's mark at one place: marks of different places cannot be matched with each other."""
        return hmac.digest(self._key, f"{place}\x00{visitor_id}".encode(), "sha256").hex()[:_MARK]
