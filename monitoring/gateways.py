"""Asks the gateways for their health at each beat."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from monitoring.pulse import NOT_SERVING, SERVING, Pulse
from monitoring.readings import Readings, discovery, key

# Like an instance's check: an answer takes milliseconds, and who hangs must not hold up the beat.
CHECK_SECONDS = 0.5
HEALTH = "/healthz"


class Gateways:
    """The health of gateways, each "host:port" or, with TLS, "https://host:port".

    A gateway's certificate has to be good for that host, as its callers want it; `authorities` is a PEM file of those
    that are trusted, else the system's are. Raises OSError (ssl.SSLError among them) for a file that cannot be used.
    """

    def __init__(self, addresses: Sequence[str], authorities: Path | None = None) -> None:
        self._pulses = {address: Pulse(f"gateway {address}") for address in addresses}
        is_tls = any(address.startswith("https://") for address in addresses)
        # The system's authorities take more than two megabytes.
        self._context = ssl.create_default_context(cafile=authorities) if is_tls else True
        self._session: aiohttp.ClientSession | None = None

    async def read(self) -> Readings:
        """State, latency in seconds and misses of each."""
        readings: Readings = {key("gateway.discovery"): discovery({"{#GATEWAY}": one} for one in self._pulses)}
        for address, latency in zip(self._pulses, await asyncio.gather(*map(self._ask, self._pulses)), strict=True):
            readings[key("gateway.state", address)] = self._pulses[address].state
            readings[key("gateway.misses", address)] = self._pulses[address].misses
            if latency is not None:
                readings[key("gateway.latency", address)] = latency
        return readings

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def _ask(self, address: str) -> float | None:
        """The seconds that the answer took; None: there was none."""
        if self._session is None:
            # Here, since it belongs to the loop that uses it.
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CHECK_SECONDS))
        url = (address if "://" in address else f"http://{address}") + HEALTH
        pulse, begin = self._pulses[address], time.monotonic()
        try:
            async with self._session.get(url, ssl=self._context, allow_redirects=False) as answer:
                # It says 503 while it drains.
                pulse.answered(SERVING if answer.status == 200 else NOT_SERVING)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            pulse.missed(type(error).__name__, str(error))
            return None
        return time.monotonic() - begin
