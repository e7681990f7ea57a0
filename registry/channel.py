"""Channels to the services, kept alive and reconnecting by themselves."""

from collections.abc import Sequence

import grpc.aio

# A peer that vanished without a word (a pulled cable, a dropped NAT entry) is noticed within 30 s; servers allow pings
# this often. Reconnecting starts at once and backs off to 5 s, so that a restarted service is found again soon.
KEEPALIVE_MS = 20_000
KEEPALIVE_TIMEOUT_MS = 10_000
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def open_channel(target: str, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()) -> grpc.aio.Channel:
    """A channel to a target of registry.config, to be opened once and shared; connects on its first call."""
    return grpc.aio.insecure_channel(target, options=OPTIONS, interceptors=list(interceptors))
