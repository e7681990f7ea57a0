"""A cable between us and MariaDB that can be cut, clogged, unplugged, or cut just when a COMMIT is in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65536


class Cable:
    """Forwards connections to a port of this machine; made by laid()."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._forwarding: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._silenced: set[asyncio.StreamWriter] = set()
        self._clear = asyncio.Event()
        self._clear.set()
        self.port = 0
        self.connections = 0
        # What is done to the next COMMIT: all is cut before it arrives, or it arrives and no answer is let through.
        self.cuts_before_commit = False
        self.keeps_back_answer = False

    async def plug(self) -> None:
        """Take connections; at the second time on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def unplug(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def clog(self) -> None:
        """Let nothing through any more, though everything still seems connected."""
        self._clear.clear()

    def unclog(self) -> None:
        """Let everything through again, late as it is."""
        self._clear.set()

    async def remove(self) -> None:
        """End all of it."""
        self.unclog()
        self.unplug()
        await asyncio.gather(*self._forwarding)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, back}
        await asyncio.gather(self._ask(reader, back, writer), self._answer(there, writer))

    async def _ask(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, asking: asyncio.StreamWriter) -> None:
        async for chunk in self._chunks(reader, to):
            if chunk.endswith(b"COMMIT"):
                if self.cuts_before_commit:
                    self.cuts_before_commit = False
                    self.cut()
                    return
                if self.keeps_back_answer:
                    self.keeps_back_answer = False
                    self._silenced.add(asking)
            to.write(chunk)

    async def _answer(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        async for chunk in self._chunks(reader, to):
            if to not in self._silenced:
                to.write(chunk)

    async def _chunks(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> AsyncIterator[bytes]:
        # Either end may go at any time, which is what a cable is for.
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._clear.wait()
                yield chunk
        to.close()


@asynccontextmanager
async def laid(to: int) -> AsyncIterator[Cable]:
    """A cable to the port, plugged in; `port` is this end's."""
    cable = Cable(to)
    await cable.plug()
    try:
        yield cable
    finally:
        await cable.remove()
