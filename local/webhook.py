"""A real HTTP server on loopback that keeps what is posted to it, for whoever tells others by webhook."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Zabbix alerts in a fraction of a second; a busy machine takes many times that.
AWAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """What came; `body` is what the JSON says, or the text if it is none, and `time` is in Unix seconds."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    time: float


@dataclass
class Webhook:
    """A receiver; what it answers may be changed while it runs."""

    received: list[Request] = field(default_factory=list)
    status: int = HTTPStatus.OK
    answer: str = "{}"

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def answered(self) -> None:
                webhook.take(self)

            do_GET = do_POST = do_PUT = answered

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: `received` has it all."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="webhook", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to post to; any path below it is taken too."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def await_one(self, is_meant: Callable[[Request], bool], seconds: float = AWAIT_SECONDS) -> Request:
        """The first request that is meant, one that came before too; raises TimeoutError with all that came instead."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                found = next(filter(is_meant, self.received), None)
                if found:
                    return found
                if not self._changed.wait(max(0.0, end - time.monotonic())) and time.monotonic() > end:
                    raise TimeoutError(f"not within {seconds} s; what came: {[one.body for one in self.received]}")

    def forget(self) -> None:
        """Empties what was received."""
        with self._changed:
            self.received.clear()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Keeps a request, and answers it."""
        text = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode(errors="replace")
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        request = Request(handler.command, handler.path, dict(handler.headers), body, time.time())
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
        answer = self.answer.encode()
        handler.send_response(self.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def stop(self) -> None:
        """Ends the server and its thread."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
