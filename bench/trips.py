"""How many round trips to the database one call takes: counted by a relay between the server and MariaDB."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK = 65_536
_HEAD = 4


class Commands:
    """Counts the commands in what a client says in MySQL's protocol: each begins anew with packet number 0."""

    def __init__(self) -> None:
        self.count = 0

    def follow(self) -> "Stream":
        """One more connection to count in."""
        return Stream(self)


class Stream:
    """The client's side of one connection."""

    def __init__(self, counted: Commands) -> None:
        self._counted = counted
        self._rest = b""
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Count what begins in the next bytes."""
        buffer, at = self._rest + data, 0
        while True:
            step = min(self._skip, len(buffer) - at)
            at, self._skip = at + step, self._skip - step
            if self._skip or len(buffer) - at < _HEAD:
                break
            self._counted.count += buffer[at + 3] == 0
            self._skip = int.from_bytes(buffer[at : at + 3], "little")
            at += _HEAD
        self._rest = buffer[at:]


class Relay:
    """Passes bytes on between its own port and a database; runs in a loop and a thread of its own."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.commands = Commands()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        """The database's URL through the relay."""
        return self._target._replace(netloc=f"{self._target.username}@127.0.0.1:{self.port}").geturl()

    def close(self) -> None:
        """Stop; connections that are open still are dropped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        stream = self.commands.follow()
        await asyncio.gather(_pass(reader, there[1], stream), _pass(there[0], writer, None))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream | None) -> None:
    try:
        while data := await reader.read(_CHUNK):
            if stream is not None:
                stream.feed(data)
            writer.write(data)
    except ConnectionError:
        pass  # Whoever hung up, the other side is told.
    finally:
        writer.close()


@contextmanager
def relayed(url: str) -> Iterator[Relay]:
    """A relay to the database at `url` while the body runs."""
    relay = Relay(url)
    try:
        yield relay
    finally:
        relay.close()
