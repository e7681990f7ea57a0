"""An issuer's public keys (RFC 7517), looked up by id and fetched again when a token names one not known yet."""

import asyncio
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import jwt

from services.chassis import logs
from services.chassis.errors import Unavailable

ALGORITHMS = ("EdDSA", "ES256")

# A stranger's made-up key ids must not become a load on the issuer, and a withdrawn key must go some time.
_REFRESH_SECONDS = 10.0
_MAX_AGE_SECONDS = 3600.0
# The issuer answers from a cache; the caller who waits has some seconds in all.
_FETCH_SECONDS = 3.0
_MAX_BYTES = 1024 * 1024

_log = logs.of("jwks")


class KeySet:
    """The keys that `load` gives as JSON text; keeps the last good ones while it fails."""

    def __init__(self, load: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._tried: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key with that id, or without an id the only key there is; None if the issuer has no such key.

        Raises Unavailable(DEPENDENCY_UNAVAILABLE) as long as no key at all could be loaded.
        """
        # Who has a known key never waits for the fetch that somebody else's key id began.
        if kid not in self._keys or self._is_due(kid):
            async with self._one_at_a_time:
                if self._is_due(kid):
                    self._tried = self._clock()
                    await self._refresh()
        if not self._keys:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", retry_after=_REFRESH_SECONDS, service="issuer")
        return self._keys.get(kid)

    def _is_due(self, kid: str | None) -> bool:
        if self._tried is None:
            return True
        age = self._clock() - self._tried
        return age >= (_MAX_AGE_SECONDS if kid in self._keys else _REFRESH_SECONDS)

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                text = await asyncio.to_thread(self._load)
            keys = jwt.PyJWKSet.from_json(text).keys
        except (OSError, ValueError, jwt.PyJWTError) as error:
            _log.warning("jwks_not_loaded", {"error": type(error).__name__})
            return
        usable: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in keys if key.algorithm_name in ALGORITHMS}
        self._keys = usable | {None: next(iter(usable.values()))} if len(usable) == 1 else usable


def loader(place: str) -> Callable[[], str]:
    """What reads a JWKS from an http(s) URL or a file."""
    if place.startswith(("http://", "https://")):
        return lambda: _fetch(place)
    return lambda: Path(place).read_text(encoding="utf-8")


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as response:
        return str(response.read(_MAX_BYTES), "utf-8")
