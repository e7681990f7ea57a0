"""Channels to the services: to one address, or through the control plane to whatever instances there are."""

import json
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from registry import config
from registry.warming import Warming, within

SCHEME = "xds:///"
# gRPC reads it whenever a channel to a new name is opened.
BOOTSTRAP = "GRPC_XDS_BOOTSTRAP_CONFIG"
# A peer that vanished without a word (a pulled cable, a dropped NAT entry) is noticed within 30 s; servers allow pings
# this often. Reconnecting starts at once and backs off to 5 s, so that a restarted service is found again soon.
KEEPALIVE_MS = 20_000
KEEPALIVE_TIMEOUT_MS = 10_000
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # The largest request has a picture of 8 MiB. gRPC would keep 256 KiB of a request, and not repeat what is longer.
    ("grpc.per_rpc_retry_buffer_size", 16 * 1024 * 1024),
)
# An idle channel forgets what the control plane told it, and would have to ask again just when nobody answers.
_XDS_OPTIONS = (*OPTIONS, ("grpc.client_idle_timeout_ms", 2**31 - 1))


def open_channel(
    target: str,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    seconds: Callable[[float | None], float] | None = None,
) -> grpc.aio.Channel:
    """A channel to "host:port" or "xds:///redeem", to be opened once and shared; connects on its first call.

    The first calls through the control plane wait for it within their deadlines, then fail as UNAVAILABLE without
    having been sent; `seconds` says how long a call may take by the timeout that it was given, for interceptors that
    change it. RuntimeError for "xds:///…" before use().
    """
    if not target.startswith(SCHEME):
        return grpc.aio.insecure_channel(target, options=OPTIONS, interceptors=list(interceptors))
    if not os.environ.get(BOOTSTRAP):
        raise RuntimeError("no control plane is known yet: channel.use() tells of one")
    credentials: grpc.ChannelCredentials | None = None
    if "certificate_providers" in json.loads(os.environ[BOOTSTRAP]):
        # Without a fallback: what the control plane names no certificates for is not called at all.
        credentials = grpc.xds_channel_credentials()

    def opened() -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(target, _XDS_OPTIONS, interceptors=list(interceptors))
        return grpc.aio.secure_channel(target, credentials, _XDS_OPTIONS, interceptors=list(interceptors))

    return Warming(target, opened, seconds or within)


def use(bootstrap: str) -> None:
    """Have this process ask the control planes of bootstrap() for every "xds:///…" channel that is opened later."""
    os.environ[BOOTSTRAP] = bootstrap


def bootstrap(control_plane: str, zone: str = "", tls: Path | None = None) -> str:
    """What gRPC's xDS clients, Python's and any other's, read at their start: JSON.

    `control_plane` is "host:port[,host:port...]", `tls` the folder of the caller's own certificate. ValueError says
    which host cannot be resolved.
    """
    node = {"id": f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}", "cluster": "mesh"}
    told: dict[str, Any] = {"node": {**node, "locality": {"zone": zone}}}
    planes = _resolved([config.split(plane.strip()) for plane in control_plane.split(",")])
    if tls is None:
        uri, creds = _uri(planes), [{"type": "insecure"}]
    else:
        from registry import tls as mutual  # Only where it is wanted: the others' processes stay smaller.

        uri, creds = mutual.server_uri(_uri(planes)), mutual.channel_creds(tls)
        told["certificate_providers"] = mutual.certificate_providers(tls)
    # One entry with one URI of all planes: a second entry would stall updates.
    told["xds_servers"] = [{"server_uri": uri, "channel_creds": creds, "server_features": ["xds_v3"]}]
    return json.dumps(told)


def _resolved(planes: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    """The planes as gRPC takes them: a single name as it is, several by their addresses of now.

    gRPC resolves a single name by itself, again whenever the connection is lost, and tries all its addresses. In a URI
    of several it takes addresses only, all of one family.
    """
    if len(planes) == 1:
        return planes
    found = [_addresses(*plane) for plane in planes]
    for family in (socket.AF_INET, socket.AF_INET6):
        if all(family in addresses for addresses in found):
            return [(addresses[family], port) for addresses, (_, port) in zip(found, planes, strict=True)]
    raise ValueError("has hosts with IPv4 and others with IPv6 addresses only; give one kind")


def _addresses(host: str, port: int) -> dict[int, str]:
    """The first address of a host by its family."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"has a host that cannot be resolved: {host}") from error
    return {family: str(address[0]) for family, *_, address in reversed(found)}


def _uri(planes: Sequence[tuple[str, int]]) -> str:
    joined = ",".join(config.joined(*plane) for plane in planes)
    if len(planes) == 1:
        return f"dns:///{joined}"
    return f"{'ipv6' if ':' in planes[0][0] else 'ipv4'}:{joined}"
