"""`python -m chaos.first TARGET`: the first call of an app that has just started; prints its seconds."""

import asyncio
import os
import sys
import time

import grpc.aio

from chaos.caller import CALL_SECONDS, METHODS
from registry import channel
from sharemesh.v1 import redeem_pb2


async def main(target: str) -> None:
    """Ask for the offers, within the patience of a person."""
    begin = time.monotonic()
    method, request = METHODS["ListOffers"], redeem_pb2.ListOffersRequest(page_size=1)
    async with channel.open_channel(target) as opened:
        call = opened.unary_unary(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.answer.FromString,
        )
        try:
            await call(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            sys.exit(f"{error.code().name} {error.details()} after {time.monotonic() - begin:.1f} s")
    sys.stdout.write(f"{time.monotonic() - begin:.2f}\n")


if __name__ == "__main__":
    assert channel.BOOTSTRAP in os.environ, "the bootstrap comes by the environment"
    asyncio.run(main(sys.argv[1]))
