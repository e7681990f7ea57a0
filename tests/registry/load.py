"""Steady calls by a process of their own: `python -m tests.registry.load redeem,entry` counts who answers, and how.

For each line "VERSION" or "" on its standard input it prints a line of JSON with what came since the last one, and from
then on asks for that version. Its channels are gRPC's own, without anything of ours.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import TypeAlias

import grpc.aio

from registry import policy

Stub: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

# Of each service. A call every 10 ms finds the gap that a missing retry or an empty set would leave.
PAUSE = 0.01
# Ample for a call that is retried.
DEADLINE = 5.0
# While the control plane is not there, a call waits for it in vain even after it came: short attempts find it.
ATTEMPT, ATTEMPTS = 1.0, 30


class Load:
    """The calls, and what became of them since the last report."""

    def __init__(self) -> None:
        self.version = ""
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.firsts: dict[str, float] = {}

    async def call(self, stub: Stub, service: str) -> None:
        metadata = (("x-sharemesh-version", self.version),) if self.version else ()
        try:
            name = (await stub(b"", timeout=DEADLINE, metadata=metadata)).decode()
        except grpc.aio.AioRpcError as error:
            self.failures[f"{service} {error.code().name} {error.details()}"] += 1
        else:
            self.answers[name] += 1
            self.firsts.setdefault(name, time.time())

    async def go_on(self, service: str) -> None:
        async with _channel(f"xds:///{service}") as channel:
            stub: Stub = channel.unary_unary(policy.methods_of(service)[0].path)
            await first(stub)
            calls: set[asyncio.Task[None]] = set()
            while True:
                task = asyncio.create_task(self.call(stub, service))
                calls.add(task)
                task.add_done_callback(calls.discard)
                await asyncio.sleep(PAUSE)

    def report(self) -> str:
        """Since the last one; `firsts` is when each instance answered first, by the clock of all processes."""
        told = json.dumps({"answers": self.answers, "failures": self.failures, "firsts": self.firsts})
        self.answers, self.failures = Counter(), Counter()
        return told


def _channel(target: str) -> grpc.aio.Channel:
    if "certificate_providers" in os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"]:
        return grpc.aio.secure_channel(target, grpc.xds_channel_credentials())
    return grpc.aio.insecure_channel(target)


async def first(stub: Stub) -> None:
    for attempt in range(ATTEMPTS):
        try:
            await stub(b"", timeout=ATTEMPT, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


async def main(services: list[str]) -> None:
    load = Load()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    going = [asyncio.create_task(load.go_on(service)) for service in services]
    while line := await reader.readline():
        for task in going:
            # A first call that failed is the test's to see.
            if task.done():
                task.result()
        load.version = line.decode().strip()
        sys.stdout.write(load.report() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].split(",")))
