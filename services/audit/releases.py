"""The releases of the lexicon in the database, and which of them decides now."""

import json
from datetime import datetime

from peewee import IntegrityError

from services.audit import lexicon
from services.audit.lexicon import Lexicon
from services.chassis import database, errors
from services.schema.tables import LexiconHead, LexiconRelease, canonical, shared

_HEAD = 1


def adopt(terms: Lexicon, now: datetime) -> None:
    """Make a release that the database has never seen the head; one that it knows is left, for people may have gone
    back to an older one. Opens its own write()."""
    with database.write():
        try:
            LexiconRelease.create(
                release=terms.release, terms=json.loads(terms.to_json()), create_time=now, force_insert=True
            )
        except IntegrityError:
            return
        _make_head(terms.release)


def _make_head(release: str) -> None:
    if LexiconHead.update(release=release).where(LexiconHead.id == _HEAD).execute():
        return
    try:
        LexiconHead.create(id=_HEAD, release=release, force_insert=True)
    except IntegrityError:
        # Another instance with another release was first with the first head of all; the last one counts.
        LexiconHead.update(release=release).where(LexiconHead.id == _HEAD).execute()


def head() -> str | None:
    """The release that decides now; None in a database that no audit service has started on yet."""
    row = LexiconHead.get_or_none(LexiconHead.id == _HEAD)
    return None if row is None else str(row.release)


def locked_head() -> str:
    """The release that decides until this transaction ends; decisions do not wait for each other."""
    row = shared(LexiconHead.select().where(LexiconHead.id == _HEAD)).first()
    if row is None:
        raise errors.Conflict("TRY_AGAIN")
    return str(row.release)


def read(release: str) -> Lexicon:
    """The terms of a release that the database knows."""
    row = LexiconRelease.get_by_id(release)
    return lexicon.from_json(canonical(row.terms))
