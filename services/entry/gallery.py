"""The image store that all processes share: files named by their content, and the threads that make and read them."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from fsspec.core import url_to_fs

from services.chassis.errors import Exhausted, Unavailable
from services.entry.pictures import Picture, picture_of

P = ParamSpec("P")
T = TypeVar("T")

# Unpacking the largest picture takes some 200 MB and a second of a processor.
_DRAWERS = 2
_READERS = 4
# Each waiting upload keeps its megabytes in memory.
_QUEUE_LIMIT = 32


class Gallery:
    """The pictures below an fsspec URL, such as file://var/images; ValueError for a protocol that is not known."""

    def __init__(self, url: str) -> None:
        self._files, self._root = url_to_fs(url)
        # Apart, so that pictures are shown while others are being made.
        self._drawers = ThreadPoolExecutor(_DRAWERS, thread_name_prefix="images-made")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="images-read")
        self._waiting = 0

    async def keep(self, content: bytes) -> Picture:
        """Make a picture of an uploaded file and keep it.

        Raises what picture_of() raises, Exhausted(QUEUE_FULL), and Unavailable(DEPENDENCY_UNAVAILABLE) while the store
        is away.
        """
        if self._waiting >= _QUEUE_LIMIT:
            raise Exhausted("QUEUE_FULL")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._drawers, self._keep, content)
        finally:
            self._waiting -= 1

    async def read(self, uid: str) -> bytes:
        """A kept picture's bytes; Unavailable(DEPENDENCY_UNAVAILABLE) while the store is away or lacks it."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, uid)

    def close(self) -> None:
        """Wait for the pictures that are being made or read; none can be kept afterwards."""
        self._drawers.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)

    def _keep(self, content: bytes) -> Picture:
        picture = picture_of(content)
        _stored(self._put, picture.uid, picture.content)
        return picture

    def _read(self, uid: str) -> bytes:
        return _stored(self._get, uid)

    def _put(self, uid: str, content: bytes) -> None:
        """Write beside, then move: under its name a file is whole or not there."""
        path = self._path(uid)
        if self._files.exists(path):
            return
        draft = f"{self._root}/drafts/{secrets.token_hex(16)}"
        for file in (draft, path):
            self._files.makedirs(file.rpartition("/")[0], exist_ok=True)
        try:
            self._files.pipe_file(draft, content)
            self._files.mv(draft, path)
        except OSError:
            with suppress(OSError):  # A draft left behind does no harm; why the store failed matters more.
                self._files.rm_file(draft)
            raise

    def _get(self, uid: str) -> bytes:
        content: bytes = self._files.cat_file(self._path(uid))
        return content

    def _path(self, uid: str) -> str:
        return f"{self._root}/{uid[:2]}/{uid}"


def _stored(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return act(*args, **kwargs)
    except OSError as error:
        raise Unavailable("DEPENDENCY_UNAVAILABLE", retry_after=1.0, service="images") from error
