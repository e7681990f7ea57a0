"""Asks every instance on this machine for its health at each beat, as its callers and Consul do."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from monitoring.census import Census
from monitoring.contracts import contract_of
from monitoring.pulse import LEFT, NOT_SERVING, SERVING, Pulse
from monitoring.readings import Readings, discovery, key
from registry.instance import CONTROL_PLANE, Instance

if TYPE_CHECKING:
    from monitoring.certificate import Certificate

# An answer takes a millisecond or two, from a busy process some tens. Half of the shortest beat, so that who hangs does
# not hold up the beat, which has the others' values; less than Consul's 900 ms, so that we know no later than callers.
CHECK_SECONDS = 0.5
# Checks under way at once: more would only measure how long each waits for our own turn.
AT_ONCE = 32
# How many beats it is told that an instance has left, before its row goes: one would do, if none got lost.
LEFT_BEATS = 3
# A Consul that was restarted empty has not heard of anybody; whoever serves registers again within two seconds.
FORGOTTEN_SECONDS = 10.0

OPTIONS: tuple[tuple[str, int | str], ...] = (
    # Whoever is started again on his port is found by the next beat.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A check that is repeated until it succeeds would be none.
    ("grpc.enable_retries", 0),
    # A proxy of the environment is for the world outside.
    ("grpc.enable_http_proxy", 0),
)
# Every certificate of the mesh is good for it, and these are processes of this machine. The address that others know
# them by need not be in it: between services the identity is looked at. Who answers is told by the name that is asked.
_TLS_OPTIONS = (*OPTIONS, ("grpc.ssl_target_name_override", "localhost"))


@dataclass
class _Patient:
    """One instance, the channel to it, and how it does."""

    instance: Instance
    channel: grpc.aio.Channel
    check: Any
    request: HealthCheckRequest
    pulse: Pulse
    # Seconds of the last answer; None: there was none.
    latency: float | None = None
    # When it went from the registry, by time.monotonic(), and how often that has been told; None: it is there.
    gone: float | None = None
    farewells: int = 0


class Heartbeat:
    """The health of the census' instances on this machine.

    `tls` is the folder of this process's own certificate: all are then asked over mutual TLS. Raises BadCertificate.
    """

    def __init__(self, census: Census, tls: Path | None = None) -> None:
        self._census = census
        self._patients: dict[tuple[str, str], _Patient] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._certificate = _certificate(tls) if tls else None

    async def read(self) -> Readings:
        """State, latency in seconds and misses of each; nothing until the registry has told who there is."""
        if not self._census.is_known:
            return {}
        await self._enrol()
        patients = list(self._patients.values())
        await asyncio.gather(*map(self._examine, patients))
        readings: Readings = {key("instance.discovery"): discovery(map(_row, patients))}
        for patient in patients:
            readings |= _told(patient)
        await self._dismiss(one for one in patients if one.farewells >= LEFT_BEATS)
        return readings

    def serving(self) -> Counter[str]:
        """How many of each service said at the last beat that they serve."""
        return Counter(one.instance.service for one in self._patients.values() if one.pulse.state == SERVING)

    async def close(self) -> None:
        """Close the channels."""
        await self._dismiss(list(self._patients.values()))

    async def _enrol(self) -> None:
        """Take in who is registered now."""
        registered = {(one.service, one.id): one for one in self._census.own}
        if self._certificate and self._certificate.has_changed():
            # Channels keep the certificate that they were opened with. None of them is in use between beats.
            await asyncio.gather(*(self._open(patient) for patient in self._patients.values()))
        for name, patient in self._patients.items():
            if name not in registered:
                patient.gone = patient.gone or time.monotonic()
                continue
            patient.gone, patient.farewells = None, 0
            before, patient.instance = patient.instance, registered[name]
            if before.address != patient.instance.address:
                await self._open(patient)
        for name in registered.keys() - self._patients.keys():
            self._patients[name] = self._patient(registered[name])

    def _patient(self, instance: Instance) -> _Patient:
        # With the contract's name, a foreign server on a dead instance's port does not pass for it. A control plane
        # reports for the whole server only.
        contract = "" if instance.service == CONTROL_PLANE else contract_of(instance.service)
        channel = self._channel(instance.address)
        check = _check_of(channel)
        pulse = Pulse(f"{instance.service} {instance.id} at {instance.address}")
        return _Patient(instance, channel, check, HealthCheckRequest(service=contract), pulse)

    async def _open(self, patient: _Patient) -> None:
        old, patient.channel = patient.channel, self._channel(patient.instance.address)
        patient.check = _check_of(patient.channel)
        await old.close(None)

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._certificate:
            return grpc.aio.secure_channel(address, self._certificate.credentials, _TLS_OPTIONS)
        return grpc.aio.insecure_channel(address, OPTIONS)

    async def _examine(self, patient: _Patient) -> None:
        patient.latency = None
        async with self._places:
            begin = time.monotonic()
            try:
                answer = await patient.check(patient.request, timeout=CHECK_SECONDS)
            except grpc.aio.AioRpcError as error:
                patient.pulse.missed(error.code().name, error.details() or "")
            else:
                patient.latency = time.monotonic() - begin
                is_serving = answer.status == HealthCheckResponse.SERVING
                patient.pulse.answered(SERVING if is_serving else NOT_SERVING)
        if patient.gone is not None and (
            patient.pulse.state != SERVING or time.monotonic() > patient.gone + FORGOTTEN_SECONDS
        ):
            patient.pulse.state = LEFT
            patient.farewells += 1

    async def _dismiss(self, patients: Iterable[_Patient]) -> None:
        for patient in patients:
            del self._patients[patient.instance.service, patient.instance.id]
            await patient.channel.close(None)


def _certificate(folder: Path) -> "Certificate":
    # Only where it is wanted: the others' processes stay smaller.
    from monitoring.certificate import Certificate

    return Certificate(folder)


def _check_of(channel: grpc.aio.Channel) -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Check


def _row(patient: _Patient) -> dict[str, str]:
    one = patient.instance
    return {
        "{#SERVICE}": one.service,
        "{#INSTANCE}": one.id,
        "{#ADDRESS}": one.address,
        "{#ZONE}": one.zone,
        "{#VERSION}": one.version,
    }


def _told(patient: _Patient) -> Readings:
    name = patient.instance.service, patient.instance.id
    readings: Readings = {
        key("instance.state", *name): patient.pulse.state,
        key("instance.misses", *name): patient.pulse.misses,
    }
    if patient.latency is not None:
        readings[key("instance.latency", *name)] = patient.latency
    return readings
