"""The events of RPCs on their way into a service's log: in blocks, by a thread, so that no call waits for a disk."""

import logging
from collections import deque
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Event, Thread

_FILE_BYTES = 64 * 1024 * 1024
_FILES = 5

# What a process that is killed may lose.
_FLUSH_SECONDS = 0.2
# About 256 KiB.
_BLOCK_LINES = 768
# When the disk does not keep up with that much, callers wait for it, rather than memory or events be lost.
_WAITING_LINES = 32 * _BLOCK_LINES

_log = logging.getLogger("sharemesh.logs")


class EventFile(RotatingFileHandler):
    """A service's log: what comes through `logging` is written at once, after whatever lines were put before it.

    Closed, and so written out, when the interpreter exits, as every handler of `logging` is.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8")
        # Filled by the event loop and emptied by the writer; each step is atomic.
        self._waiting: deque[bytes] = deque()
        self._has_lines, self._has_block = Event(), Event()
        self._is_closed = False
        Thread(target=self._write_blocks, name=f"log {path.name}", daemon=True).start()

    def put(self, line: bytes) -> None:
        """Have a line (with its line end) written within 200 ms."""
        self._waiting.append(line)
        count = len(self._waiting)
        if count == 1:
            self._has_lines.set()
        elif count == _BLOCK_LINES:
            self._has_block.set()
        elif count >= _WAITING_LINES:
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of `logging`; the lock is held. What cannot be written never hurts who logs."""
        try:
            self._write_waiting()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def flush(self) -> None:
        """Write out all that was put."""
        self.acquire()
        try:
            self._write_waiting()
            super().flush()
        finally:
            self.release()

    def close(self) -> None:
        """Write out all that was put, and end the writer."""
        self.flush()
        self._is_closed = True
        self._has_lines.set()
        self._has_block.set()
        super().close()

    def _write_blocks(self) -> None:
        while not self._is_closed:
            self._has_lines.wait()
            self._has_lines.clear()
            self._has_block.wait(_FLUSH_SECONDS)
            self._has_block.clear()
            try:
                self.flush()
            except OSError as error:  # The next block may fare better; the console is told of this one.
                _log.warning("events_lost", {"file": self.baseFilename, "error": type(error).__name__})

    def _write_waiting(self) -> None:
        block = b"".join(self._taken())
        if not block:
            return
        if self.stream is None:
            self.stream = self._open()
        if self.stream.seek(0, 2) + len(block) > self.maxBytes:
            self.doRollover()
        self.stream.buffer.write(block)
        self.stream.flush()

    def _taken(self) -> Iterator[bytes]:
        while self._waiting:
            yield self._waiting.popleft()
