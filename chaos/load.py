"""`python -m chaos.load`: the callers, in a process of their own so that nothing that is done to the mesh delays them.

It reads its plan as one line of JSON, tells "ready" when everybody calls, then obeys lines: "pace N" calls a second,
"gateway all" or "gateway some", and "stop", which ends all turns, compares what was answered with what is answered
again, and tells it as JSON.
"""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc.aio

from chaos.caller import Bearers, Book, Caller, Pace, Record, Refused
from chaos.scenes import LIN, Turns, World, lay
from chaos.streams import Watcher
from registry import channel
from services.chassis import settings
from services.chassis.server import on_uvloop
from services.chassis.tokens import DevIssuer
from sharemesh.v1 import entry_pb2, publish_pb2

# More than the calls that are under way at any time, those that hang included: the pace must not falter.
CALLERS = 60
WATCHERS = 6
# Calls a second once it is over.
_HASTE = 400.0
# Every so many-th caller comes in by the gateway.
_BY_GATEWAY = 5


@dataclass(frozen=True)
class Plan:
    """Where the services are by their names and how the callers call them; `gateway` "" is none."""

    record: str
    var: str
    targets: dict[str, str]
    bootstrap: str = ""
    gateway: str = ""
    rate: float = 100.0
    callers: int = CALLERS
    watchers: int = WATCHERS


@dataclass
class Answers:
    """What is known in the end: by RPC the names in answers by request_id, and what does not agree, in words."""

    made: dict[str, dict[str, str]]
    wrongs: list[str] = field(default_factory=list)


class Load:
    """Everybody who calls, and what they write down."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._book, self._pace = plan, Book(), Pace(plan.rate)
        issuer = settings.Settings(var=Path(plan.var))
        bearers, record = Bearers(DevIssuer.of(issuer)), Record(Path(plan.record))
        if plan.bootstrap:
            channel.use(plan.bootstrap)
        ways = {"mesh": channels_to(plan.targets)}
        if plan.gateway:
            way = grpc.aio.insecure_channel(plan.gateway, options=channel.OPTIONS)
            ways["gateway"] = dict.fromkeys(plan.targets, way)
        self._ways = [Caller(way, to, bearers, record, self._book, self._pace) for way, to in ways.items()]
        self._mesh = self._ways[0].channels
        self._is_over = asyncio.Event()
        self._watchers: list[Watcher] = []

    def caller(self, number: int) -> Caller:
        """Who calls as that number."""
        return self._ways[-1 if number % _BY_GATEWAY == 0 else 0]

    async def run(self) -> Answers:
        """Until it is told to stop."""
        world = await lay(self._ways[0])
        for number in range(self._plan.watchers):
            self._watchers.append(Watcher(self.caller(number), await self._watched(world)))
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._plan.callers):
                tasks.create_task(self._take_turns(number, world))
            watching = [tasks.create_task(watcher.watch()) for watcher in self._watchers]
            for watcher in self._watchers:
                tasks.create_task(watcher.make_news(self._is_over))
            say("ready")
            await self._obey()
            self._is_over.set()
            self._pace.change(_HASTE)
            wrongs = [line for watcher in self._watchers for line in await self._missed(watcher)]
            for task in watching:
                task.cancel()
        return Answers(self._book.made, [*wrongs, *await self._again()])

    async def _take_turns(self, number: int, world: World) -> None:
        turns = Turns(self.caller(number), world, number)
        while not self._is_over.is_set():
            with suppress(Refused):  # It stands in the record.
                await turns.take()

    async def _watched(self, world: World) -> str:
        """An activity of its own for a stream."""
        caller = self._ways[0]
        like = await caller.ask(LIN, "GetActivity", entry_pb2.GetActivityRequest(name=world.activity))
        kept = ("merchant", "template", "title", "description", "fields", "images", "terms")
        for name in [name for name in like.DESCRIPTOR.fields_by_name if name not in kept]:
            like.ClearField(name)
        draft = await caller.ask(LIN, "CreateActivity", entry_pb2.CreateActivityRequest(activity=like))
        await caller.ask(LIN, "SubmitActivity", publish_pb2.SubmitActivityRequest(name=draft.name))
        return str(draft.name)

    async def _missed(self, watcher: Watcher) -> list[str]:
        return [] if await watcher.is_complete() else [f"a stream of {watcher.activity} did not see its last change"]

    async def _again(self) -> list[str]:
        """The last writes asked once more, with the same request_id: the same outcome."""
        wrongs = []
        for rpc, request, who, name in list(self._book.last):
            try:
                answer = await self._ways[0].ask(who, rpc, request)
            except Refused as refused:
                wrongs.append(f"{rpc} was answered with {name}, and then refused: {refused.__cause__}")
                continue
            if answer.name != name:
                wrongs.append(f"{rpc} was answered with {name}, and then with {answer.name}")
        return wrongs

    async def _obey(self) -> None:
        """The lines that come in, until one of them is "stop" or there are no more."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, _, rest = line.strip().partition(" ")
            if command == "stop":
                return
            if command == "pace":
                self._pace.change(float(rest))
            else:
                self._come_by_gateway(is_all=rest == "all")

    def _come_by_gateway(self, is_all: bool) -> None:
        """Everybody by the gateway, or some as before."""
        mesh, gateway = self._ways[0], self._ways[-1]
        if is_all:
            mesh.way, mesh.channels = gateway.way, gateway.channels
        else:
            mesh.way, mesh.channels = "mesh", self._mesh


def channels_to(targets: dict[str, str]) -> dict[str, grpc.aio.Channel]:
    """A channel to each service."""
    return {service: channel.open_channel(target) for service, target in targets.items()}


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Run what the first line of the input plans."""
    answers = await Load(Plan(**json.loads(sys.stdin.readline()))).run()
    say(json.dumps(asdict(answers)))


if __name__ == "__main__":
    on_uvloop(main())
