"""Fetches a page of this machine by HTTP.

A client for the whole of HTTP takes 0.8 ms of CPU for a /metrics of one service, this 0.3 ms; there may be one for each
instance at each beat.
"""

import asyncio

from registry import config

# All of ours have 90 KB at the most; a stranger's may have no end.
PAGE_BYTES = 4 * 1024 * 1024


async def fetched(address: str, path: str, seconds: float) -> str:
    """The page of "host:port" at this path, if it is there (200); by HTTP/1.0, so that it ends with its connection.

    Raises ValueError if it is not, OSError if nobody is there, TimeoutError.
    """
    host, port = config.split(address)
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            answer = bytearray()
            while piece := await reader.read(PAGE_BYTES):
                answer += piece
                if len(answer) > PAGE_BYTES:
                    raise ValueError(f"{address}{path} has more than {PAGE_BYTES} bytes")
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or status[:3] != b"200":
        raise ValueError(f"{address}{path} answers {bytes(head[:60]).decode(errors='replace')!r}")
    return body.decode(errors="replace")
