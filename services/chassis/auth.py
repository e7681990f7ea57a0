"""Who a bearer token speaks for: JWTs signed by EdDSA or ES256, checked against a key set."""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt

from services.chassis.call import ANONYMOUS, Principal
from services.chassis.errors import Unauthenticated
from services.chassis.jwks import KeySet
from sharemesh.v1 import options_pb2

ROLES = frozenset(name.removeprefix("ROLE_") for name in options_pb2.Role.DESCRIPTOR.values_by_name)
TOKEN_ROLES = ROLES - {"UNSPECIFIED", ANONYMOUS}

_CACHED_TOKENS = 10_000
# How long a token is taken for good without asking for its key again, which the issuer may have withdrawn.
_TRUSTED_SECONDS = 300.0
# An issuer's clock may run ahead of ours; expiry is taken as it stands.
_CLOCK_SKEW_SECONDS = 30.0
# Times are checked here, by a clock that tests can set.
_OPTIONS: Any = {
    "require": ["exp", "iat", "sub", "role", "iss", "aud"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


# What the columns of subjects hold.
_SUBJECT_LENGTH = 128


def _is_subject(subject: str) -> bool:
    """Whether rows can tell this subject from every other: MariaDB takes "lin" and "lin " for the same."""
    return 0 < len(subject) <= _SUBJECT_LENGTH and subject.isprintable() and subject == subject.strip()


class Bearer(NamedTuple):
    """Who calls, under which pseudonym, and for how many seconds more the token says so; an anonymous for ever."""

    principal: Principal
    pseudonym: str
    seconds: float


_ANYBODY = Bearer(Principal(ANONYMOUS, ""), "", math.inf)


class _Known(NamedTuple):
    """What was found out about a token; times are Unix seconds."""

    principal: Principal
    pseudonym: str
    expires: float
    verified: float


class Verifier:
    """Turns tokens into bearers, remembering good ones for some minutes: checking one costs 100 times more."""

    def __init__(self, keys: KeySet, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        # By the token's hash, so that nothing that could be used again stays in memory.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def bearer(self, authorization: str | None, pseudonym: Callable[[Principal], str] = lambda _: "") -> Bearer:
        """Who sent an authorization header ("Bearer ..."); an anonymous, who has no pseudonym, if there is none.

        The pseudonym is remembered with the token, and forgotten with it.
        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED), and Unavailable when the issuer's keys cannot be had.
        """
        if authorization is None:
            return _ANYBODY
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("TOKEN_INVALID", "not a bearer token")
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        known = self._known.get(digest)
        if known is not None and now < min(known.expires, known.verified + _TRUSTED_SECONDS):
            self._known.move_to_end(digest)
            return Bearer(known.principal, known.pseudonym, known.expires - now)
        self._known.pop(digest, None)
        principal, expires = await self._verified(token)
        if expires <= now:
            raise Unauthenticated("TOKEN_EXPIRED")
        self._known[digest] = known = _Known(principal, pseudonym(principal), expires, now)
        if len(self._known) > _CACHED_TOKENS:
            self._known.popitem(last=False)
        return Bearer(principal, known.pseudonym, expires - now)

    async def _verified(self, token: str) -> tuple[Principal, float]:
        """The principal and the expiry (Unix seconds) of a token whose signature and claims hold."""
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise Unauthenticated("TOKEN_INVALID", "signed by an unknown key")
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                options=_OPTIONS,
            )
            begins = max(float(claims["iat"]), float(claims.get("nbf", 0)))
            expires = float(claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            # The library's words may quote the token, so only the kind of the failure goes on.
            raise Unauthenticated("TOKEN_INVALID", type(error).__name__) from None
        role = str(claims["role"]).upper()
        if role not in TOKEN_ROLES or not _is_subject(claims["sub"]):
            raise Unauthenticated("TOKEN_INVALID", "no such role, or no subject that rows can hold")
        if begins > self._clock() + _CLOCK_SKEW_SECONDS:
            raise Unauthenticated("TOKEN_INVALID", "not valid yet")
        return Principal(role, claims["sub"]), expires
