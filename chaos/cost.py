"""`python -m chaos.cost`: what the gateway costs, as the ratio of its calls a second to those without it, in one run.

Reads {"bootstrap": …, "gateway": "host:port", "seconds": …} as JSON; prints {callers: [ratio of each round, …]}.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import grpc.aio

from chaos.caller import CALL_SECONDS, METHODS
from registry import channel
from services.chassis.server import on_uvloop
from sharemesh.v1 import redeem_pb2

CALLERS = (1, 8)
# Slices of each, in changing order, so that what disturbs one disturbs the other.
_ROUNDS = 6
# For connections and caches, which a call after the first does not pay for.
_WARM_UP_SECONDS = 0.3


def _method(to: grpc.aio.Channel) -> Any:
    method = METHODS["ListOffers"]
    serialize = redeem_pb2.ListOffersRequest.SerializeToString
    return to.unary_unary(method.path, request_serializer=serialize, response_deserializer=method.answer.FromString)


async def rate(ask: Any, callers: int, seconds: float) -> float:
    """Calls a second of so many callers, each with one call under way."""
    end, count = time.monotonic() + seconds, 0

    async def call() -> None:
        nonlocal count
        while time.monotonic() < end:
            await ask(redeem_pb2.ListOffersRequest(page_size=1), timeout=CALL_SECONDS)
            count += 1

    begin = time.monotonic()
    await asyncio.gather(*(call() for _ in range(callers)))
    return count / (time.monotonic() - begin)


async def main() -> None:
    """Measure and print."""
    plan = json.loads(sys.stdin.readline())
    channel.use(plan["bootstrap"])
    direct = channel.open_channel("xds:///redeem")
    gateway = grpc.aio.insecure_channel(plan["gateway"], options=channel.OPTIONS)
    ways = {"direct": _method(direct), "gateway": _method(gateway)}
    for ask in ways.values():
        await rate(ask, max(CALLERS), _WARM_UP_SECONDS)
    ratios: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    for _ in range(_ROUNDS):
        for callers in CALLERS:
            order = random.sample(sorted(ways), k=2)
            rates = {way: await rate(ways[way], callers, plan["seconds"]) for way in order}
            ratios[callers].append(rates["gateway"] / rates["direct"])
    sys.stdout.write(json.dumps(ratios) + "\n")
    await direct.close()
    await gateway.close()


if __name__ == "__main__":
    on_uvloop(main())
