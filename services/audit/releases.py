"""The lexicons in the database, each named by the hash of its terms, and which of them decides now.

A large lexicon's JSON is made and read in slices: one call of the C library holds every other thread up until it
returns, and here some of them serve.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from peewee import IntegrityError, Value, fn

from services.audit import lexicon
from services.audit.lexicon import Lexicon, Term
from services.chassis import database, errors, logs
from services.chassis.names import new_uid
from services.schema.tables import LexiconHead, LexiconRelease, Rollout, locked, shared

# A thousandth of a second's work.
_SLICE = 100
_BEFORE, _AFTER = '{"terms":[', "]}"
_HEAD = 1

_log = logs.of("audit")


@dataclass(frozen=True)
class Origin:
    """Where a lexicon comes from: the release it was made of with what became of its terms, who made it and why."""

    base: str
    added: int
    changed: int
    removed: int
    actor: str
    reason: str


def adopt(terms: Lexicon, now: datetime) -> None:
    """Keep the program's own lexicon. Opens its own write().

    One that the database has never seen becomes the head, but not in place of one that people made: that would undo
    their work. One that it knows is left, for people may have gone back to an older one.
    """
    release, text = named(terms.terms)
    if LexiconRelease.select().where(LexiconRelease.release == release).exists():
        return
    with database.write():
        if not keep(release, text, len(terms.terms), now):
            return
        decides = LexiconRelease.get_or_none(LexiconRelease.release == head())
        if decides is None or decides.base is None:
            begin(release, "ADOPTION", now)
        else:
            _log.warning("lexicon_not_adopted", {"release": release, "head": decides.release})


def keep(release: str, text: str, count: int, now: datetime, origin: Origin | None = None) -> bool:
    """Insert a lexicon, as named() gave it; False if it is there already. Call it inside a write()."""
    row = {"release": release, "terms": Value(text, converter=False), "term_count": count, "create_time": now}
    if origin is not None:
        counts = {f"{verb}_count": getattr(origin, verb) for verb in ("added", "changed", "removed")}
        row |= {"base": origin.base, "actor": origin.actor, "reason": origin.reason, **counts}
    try:
        LexiconRelease.insert(row).execute()
    except IntegrityError:
        return False
    return True


def begin(release: str, kind: str, now: datetime, actor: str = "", reason: str = "") -> Rollout:
    """Make a kept lexicon the head, and let what was judged be judged again. Call it inside a write()."""
    previous = _make_head(release)
    Rollout.update(state="SUPERSEDED", end_time=now).where(Rollout.state == "RUNNING").execute()
    # Before the first head of all nothing was judged.
    progress = {"state": "RUNNING"} if previous else {"state": "DONE", "end_time": now}
    return Rollout.create(
        uid=new_uid(),
        release=release,
        previous=previous,
        kind=kind,
        actor=actor,
        reason=reason,
        create_time=now,
        stage="PUBLICATIONS",
        **progress,
    )


def _make_head(release: str) -> str:
    """Returns the head before, "" if there was none."""
    before = locked(LexiconHead.select().where(LexiconHead.id == _HEAD)).first()
    if before is None:
        try:
            LexiconHead.create(id=_HEAD, release=release, force_insert=True)
        except IntegrityError:
            # Another instance with another lexicon was first with the first head of all; the last one counts.
            before = locked(LexiconHead.select().where(LexiconHead.id == _HEAD)).get()
    LexiconHead.update(release=release).where(LexiconHead.id == _HEAD).execute()
    return "" if before is None else str(before.release)


def head() -> str | None:
    """The release that decides now; None in a database that no audit service has started on yet."""
    row = LexiconHead.get_or_none(LexiconHead.id == _HEAD)
    return None if row is None else str(row.release)


def locked_head(for_change: bool = False) -> str:
    """The release that decides until this transaction ends; decisions do not wait for each other, changes do."""
    row = (locked if for_change else shared)(LexiconHead.select().where(LexiconHead.id == _HEAD)).first()
    if row is None:
        raise errors.Conflict("TRY_AGAIN")
    return str(row.release)


def read(release: str) -> Lexicon:
    """The terms of a lexicon that the database knows.

    Raises FailedPrecondition(LEXICON_UNREADABLE) if another release of the program kept it in a way not known here.
    """
    try:
        terms = parsed(_text_of(release))
    except lexicon.LexiconError as error:
        raise errors.FailedPrecondition("LEXICON_UNREADABLE", str(error)) from error
    whole = Lexicon(terms)
    # It is named already; working its name out again would take one long call.
    vars(whole)["release"] = release
    return whole


def named(terms: Sequence[Term]) -> tuple[str, str]:
    """The name and the JSON of a lexicon, given its terms in canonical order: what Lexicon makes of all of them."""
    parts = (Lexicon(tuple(terms[start : start + _SLICE])).to_json() for start in range(0, len(terms), _SLICE))
    text = f"{_BEFORE}{','.join(part[len(_BEFORE) : -len(_AFTER)] for part in parts)}{_AFTER}"
    return hashlib.sha256(text.encode()).hexdigest(), text


def parsed(text: str) -> tuple[Term, ...]:
    """The terms that the JSON of a lexicon tells, in slices: nobody waits long. Raises LexiconError."""
    return tuple(term for part in _parts(text) for term in lexicon.from_json(part).terms)


def _text_of(release: str) -> str:
    text = fn.COALESCE(LexiconRelease.terms, "").python_value(str)
    return str(LexiconRelease.select(text).where(LexiconRelease.release == release).scalar())


def _parts(text: str) -> Iterator[str]:
    """The JSON of a lexicon as that of many small ones."""
    decoder = json.JSONDecoder()
    start = place = len(_BEFORE)
    count = 0
    while text[place] == "{":
        _, end = decoder.raw_decode(text, place)
        count += 1
        place = end + 1
        if count % _SLICE == 0 or text[end] == "]":
            yield f"{_BEFORE}{text[start:end]}{_AFTER}"
            start = place
