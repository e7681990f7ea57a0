"""Coupon codes: 16 digits that a cashier can type, and that nobody can make up."""

import hashlib
import hmac
import secrets

from services.chassis.keys import Keyring

# 10-15 and 25-30 begin the payment codes of WeChat Pay and Alipay: a till must never take a coupon for money.
_LEADS = "6789"
_BODY_DIGITS = 11
_MAC_DIGITS = 4


class CouponCodes:
    """Makes codes with the present generation's key and knows those of the three generations before.

    A code is one leading digit that tells the generation, 11 random digits and the last four of a keyed MAC, so that
    all but one made-up or mistyped code in 10,000 are refused without a look at the database.
    """

    def __init__(self, keys: Keyring, generation: int = 0) -> None:
        self._lead = _LEADS[generation % len(_LEADS)]
        recent = range(max(0, generation - len(_LEADS) + 1), generation + 1)
        self._keys = {_LEADS[one % len(_LEADS)]: keys.derive("coupon-code", one) for one in recent}

    def new(self) -> str:
        """A code that was never given out, but for one chance in 10^11 for each one in use."""
        body = self._lead + str(secrets.randbelow(10**_BODY_DIGITS)).zfill(_BODY_DIGITS)
        return body + self._mac(body)

    def is_authentic(self, code: str) -> bool:
        """Whether we made this code with a key that still counts."""
        body, mac = code[:-_MAC_DIGITS], code[-_MAC_DIGITS:]
        known = code.isascii() and code.isdigit() and len(body) == 1 + _BODY_DIGITS and body[0] in self._keys
        return known and hmac.compare_digest(self._mac(body), mac)

    def _mac(self, body: str) -> str:
        digest = hmac.digest(self._keys[body[0]], body.encode(), hashlib.sha256)
        return str(int.from_bytes(digest[:8], "big") % 10**_MAC_DIGITS).zfill(_MAC_DIGITS)
