"""What is measured: servers under load, each asked by its own wire, and SQL with no wire at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import job, ledger, load, raw, traffic
from bench.load import Report
from bench.people import Tokens
from bench.programs import Program, of_service
from bench.traffic import CLAIMS, WRITES, Traffic
from bench.world import World

ECHO, OURS, SINGLE, RAW, FASTAPI = "echo", "ours", "one transaction a call", "raw PyMySQL", "FastAPI + SQLAlchemy"


@dataclass(frozen=True)
class Demand:
    """One slice: what is sent, by how many callers (or threads), for how long, and whose CPU is told beside theirs."""

    sent: Traffic
    shop: World
    callers: int
    seconds: float
    # Of the answer to this work, for the echo.
    answer_bytes: int
    watched: Mapping[str, int]


class Subject(Protocol):
    """Whoever does the work."""

    @property
    def name(self) -> str: ...

    @property
    def pids(self) -> Sequence[int]:
        """The processes that are asked; none if each slice has one of its own."""
        ...

    def load(self, demand: Demand) -> Report:
        """Put it under load for one slice."""
        ...


class Server:
    """Processes that calls are sent to in turn, by gRPC or by HTTP/1.1 and JSON."""

    def __init__(self, name: str, programs: Sequence[Program], tokens: Tokens, protocol: str = "grpc") -> None:
        self.name = name
        self.pids = [program.pid for program in programs]
        self._ports = [program.port for program in programs]
        self._tokens = tokens
        self._protocol = protocol

    def load(self, demand: Demand) -> Report:
        work, is_echo = demand.sent.work, self.name == ECHO
        task = load.Task(
            ports=self._ports,
            protocol=self._protocol,
            path=f"/bench.Echo/{demand.answer_bytes}" if is_echo else self._path(work),
            tokens=self._tokens.of(work, demand.callers),
            messages=self._messages(demand.sent, demand.shop),
            seconds=demand.seconds,
            is_endless=is_echo or work not in WRITES,
            watched={**demand.watched, **{f"server {pid}": pid for pid in self.pids}},
        )
        return load.run(task)

    def _path(self, work: str) -> str:
        if self._protocol == "http":
            return "/claim" if work in CLAIMS else "/redeem"
        return traffic.PATHS[work]

    def _messages(self, sent: Traffic, shop: World) -> list[bytes]:
        return (traffic.json_messages if self._protocol == "http" else traffic.messages)(sent, shop)


class Threads:
    """Raw PyMySQL: no server, `callers` threads of one process."""

    name = RAW
    pids: Sequence[int] = ()

    def load(self, demand: Demand) -> Report:
        shop, sent = demand.shop, demand.sent
        task = raw.Task(
            url=shop.url,
            var=shop.var,
            work=sent.work,
            shop=job.Shop(shop.merchant_id, shop.merchant, shop.store_id, shop.store),
            wishes=sent.wishes,
            keys=[ledger.key(shop, sent.work, 0, wish.request_id) for wish in sent.wishes],
            threads=demand.callers,
            seconds=demand.seconds,
            watched=dict(demand.watched),
        )
        return raw.run(task)


def arguments_of(name: str, service: str, shop: World, folder: Path) -> tuple[str, ...]:
    """How the process of a subject is started that does this service's work on the shop's database; () for none."""
    arguments = of_service(service, shop.url, shop.var, folder / f"{name} log")
    match name:
        case "raw PyMySQL":
            return ()
        case "echo":
            return ("bench.echo",)
        case "FastAPI + SQLAlchemy":
            return ("bench.fastapi_app", *arguments[3:])
        case "one transaction a call":
            return ("bench.single", *arguments[2:])
        case _:
            return arguments


def subject(name: str, started: Sequence[Program], tokens: Tokens) -> Subject:
    """The subject of these processes."""
    return Server(name, started, tokens, "http" if name == FASTAPI else "grpc") if started else Threads()
