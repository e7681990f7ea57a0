"""Real server processes for tests, that can be killed and started again."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

import grpc

START_SECONDS = 60.0


@dataclass
class Servers:
    """A process for each of `services` (one for "all"), that can be killed and started again."""

    url: str
    folder: Path
    services: tuple[str, ...] = ("share", "redeem")
    up: asyncio.Event = field(default_factory=asyncio.Event)
    processes: list[Process] = field(default_factory=list)
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    async def start(self) -> None:
        for service in self.services:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "services", "serve", service, "--database", self.url, "--var", str(self.folder)),
                *("--logs", str(self.folder / "log"), "--images", f"file://{self.folder}/images", "--port", "0"),
                stdout=PIPE,
            )
            self.processes.append(process)
            async with asyncio.timeout(START_SECONDS):
                await self._connect(service, process)
        self.up.set()

    async def _connect(self, service: str, process: Process) -> None:
        """A channel to each address that the process tells."""
        assert process.stdout is not None
        while True:
            line = (await process.stdout.readline()).decode()
            assert line, f"{service} did not start"
            told, address = line.split()
            if told == "metrics":
                return
            self.channels[told] = grpc.aio.insecure_channel(address)

    async def kill(self) -> None:
        self.up.clear()
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            await process.wait()
        for channel in self.channels.values():
            await channel.close(None)
        self.processes.clear()
