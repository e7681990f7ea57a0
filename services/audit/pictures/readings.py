"""What was read in the pictures of a snapshot, kept by the hash of their bytes, so that each is read once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.audit.pictures.passages import Page, Reading
from services.audit.texts import texts
from services.chassis import database
from services.chassis.names import uid_of
from services.schema.tables import ImageReading

# As many names as one statement takes on every database.
_NAMES = 500


class Unread(Exception):
    """Pictures must be read before a decision; never leaves this service."""

    def __init__(self, uids: Sequence[str]) -> None:
        super().__init__(f"{len(uids)} unread pictures")
        self.uids = uids


@dataclass(frozen=True)
class Gallery:
    """The pictures of a snapshot: a page for each that was read, by its field path, whoever read it.

    `unread` are the uids of those that the asked reader has still to read; `is_whole` is whether all that stands in the
    pictures is on the pages.
    """

    pages: Mapping[str, Page]
    unread: tuple[str, ...]
    is_whole: bool

    @classmethod
    def of(cls, snapshot: dict[str, Any], paths: Sequence[str], reader: str) -> "Gallery":
        """What was read in the pictures at `paths`, as texts.texts() takes them; to "" any reader is as good."""
        fields = [(path, uid_of("images", picture)) for path, picture in texts(snapshot, paths)]
        rows = _read({uid for _, uid in fields})
        pages = {path: Page.of(Reading.of_plain(rows[uid].passages)) for path, uid in fields if uid in rows}
        done = {uid for uid, row in rows.items() if reader in ("", row.reader)}
        unread = tuple(dict.fromkeys(uid for _, uid in fields if uid not in done))
        return cls(pages, unread, len(pages) == len(fields) and all(page.is_whole for page in pages.values()))


def is_read(uid: str, reader: str) -> bool:
    """Whether this reader has read the picture."""
    return any(row.reader == reader for row in _read([uid]).values())


def keep(uid: str, reader: str, reading: Reading, now: datetime) -> None:
    """Keep what was read; what another reader read before is replaced. Opens its own write()."""
    row = {"reader": reader, "passages": reading.to_plain(), "create_time": now}
    with database.write():
        if ImageReading.update(**row).where(ImageReading.uid == uid).execute():
            return
        try:
            ImageReading.create(uid=uid, **row, force_insert=True)
        except IntegrityError:
            return  # Another process read the same picture meanwhile.


def _read(uids: Collection[str]) -> dict[str, ImageReading]:
    found: dict[str, ImageReading] = {}
    names = sorted(uids)
    for start in range(0, len(names), _NAMES):
        rows = ImageReading.select().where(ImageReading.uid << names[start : start + _NAMES])
        found |= {row.uid: row for row in rows}
    return found
