"""What one caller alone costs: round trips to the database a call, and the time from a cold start to a first answer."""

import socket
import statistics
import time
from dataclasses import replace
from pathlib import Path

from bench import load, traffic
from bench.load import Task
from bench.people import Tokens
from bench.programs import Program
from bench.subjects import OURS, arguments_of
from bench.traffic import OK
from bench.trips import relayed
from bench.wire import Grpc
from bench.world import World

_CALLS = 200
_STARTS = 3
_LONGEST_SECONDS = 20.0
_CHUNK = 65_536


def round_trips(name: str, work: str, service: str, shop: World, folder: Path) -> float:
    """Round trips to the database of one call of `work` by a subject's own process."""
    with relayed(shop.url) as relay:
        arguments = arguments_of(name, service, replace(shop, url=relay.url), folder)
        program = Program(folder / "trips.log", *arguments)
        try:
            _call(program, work, shop)  # Connections are opened, what is read once is read.
            before = relay.commands.count
            _call(program, work, shop)
            return (relay.commands.count - before) / _CALLS
        finally:
            program.stop()


def first_answer_seconds(shop: World, folder: Path) -> float:
    """From starting `serve redeem` to its first redemption: the median of some starts."""
    times = []
    path, (token,) = traffic.PATHS[traffic.REDEEM], Tokens(shop.var).of(traffic.REDEEM, 1)
    for _ in range(_STARTS):
        (message,) = traffic.messages(traffic.traffic(traffic.REDEEM, 1, shop), shop)
        began = time.perf_counter()
        program = Program(folder / "start.log", *arguments_of(OURS, "redeem", shop, folder))
        try:
            status = _ask(program.port, Grpc(f"127.0.0.1:{program.port}", path, token), message)
            times.append(time.perf_counter() - began)
        finally:
            program.stop()
        if status != OK:
            raise RuntimeError(f"the first answer after a start was {status}")
    return statistics.median(times)


def _call(program: Program, work: str, shop: World) -> None:
    """Make some calls, one after the other."""
    sent = traffic.traffic(work, _CALLS, shop)
    task = Task(
        ports=[program.port],
        protocol="grpc",
        path=traffic.PATHS[work],
        tokens=Tokens(shop.var).of(work, 1),
        messages=traffic.messages(sent, shop),
        seconds=_LONGEST_SECONDS,
    )
    answers = load.run(task).answers
    if [status for *_, status in answers] != [OK] * _CALLS:
        raise RuntimeError(f"of {_CALLS} calls {len(answers)} were answered, not all of them OK")


def _ask(port: int, client: Grpc, message: bytes) -> int:
    """The status of one call on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=_LONGEST_SECONDS) as connection:
        connection.sendall(client.opening() + client.call(message))
        while True:
            status = client.feed(connection.recv(_CHUNK))
            if status is not None:
                return status
            connection.sendall(client.control())
