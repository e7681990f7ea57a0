"""Lexicons that people make: of one that is there, with terms added, replaced or removed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.audit import lexicon, releases
from services.audit.lexicon import Lexicon, LexiconError, LocalizedText, Term
from services.audit.rollouts import known
from services.audit.yielding import yielding
from services.chassis import database, errors, paging
from services.chassis.call import Call
from services.chassis.errors import Invalid, Violation, Words
from services.chassis.names import name
from services.schema import replay
from services.schema.tables import LexiconRelease, without

Key = tuple[str, str]


def import_terms(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Make a lexicon of plain["base"], else of the head, with plain["terms"] and without plain["removals"].

    Returns the Lexicon; if its terms were put together before, that one. Raises NotFound, and Invalid with a violation
    for each bad term.
    """
    base = known(plain["base"], "base") if plain.get("base") else releases.head()
    if base is None:
        raise errors.Conflict("TRY_AGAIN")
    # Made ready before the transaction: a large lexicon takes a second.
    made = replay.first(call, "")
    if made is None:
        with yielding():
            before = {(term.category, term.text): term for term in releases.read(base).terms}
            whole = _merged(before, plain)
            release, text = releases.named(whole.terms)
            origin = _origin(before, whole, releases.Origin(base, 0, 0, 0, call.actor, plain["reason"]))

        def command() -> str:
            releases.keep(release, text, len(whole.terms), now, origin)
            return release

        with database.write():
            made, _ = replay.once(call, "", command, now)
    return _view(_rows().where(LexiconRelease.release == made).get(), releases.head())


def _merged(before: Mapping[Key, Term], plain: dict[str, Any]) -> Lexicon:
    removals = {_key(one): f"removals[{index}]" for index, one in enumerate(plain.get("removals", ()))}
    terms = _terms(plain.get("terms", ()))
    wrong = [
        Violation(path, Words("基础词库中没有该词条", "is no term of the base"))
        for key, path in removals.items()
        if key not in before
    ]
    if wrong:
        raise Invalid("INVALID_FIELD", violations=wrong)
    if not terms and not removals:
        raise errors.invalid_field("terms", Words("没有要增加或删除的词条", "adds and removes nothing"))
    left = [term for key, term in before.items() if key not in removals]
    return _whole(left, terms)


def _terms(given: Sequence[dict[str, Any]]) -> list[Term]:
    """The terms as they are kept; Invalid with a violation for each that cannot be used."""
    terms: list[Term] = []
    wrong: list[Violation] = []
    seen: set[Key] = set()
    for index, plain in enumerate(given):
        try:
            if _key(plain) in seen:
                raise LexiconError("twice in this request")
            seen.add(_key(plain))
            terms.extend(Lexicon.of([term_of(plain)]).terms)
        except LexiconError as error:
            wrong.append(_violation(index, error))
    if wrong:
        raise Invalid("INVALID_FIELD", violations=wrong)
    return terms


def term_of(plain: Mapping[str, Any]) -> Term:
    return Term(
        text=plain["text"],
        category=plain["category"],
        action=plain["action"].lower(),
        boundary=plain["has_boundary"],
        exceptions=tuple(sorted(plain["exceptions"])),
        basis=plain["basis"],
        rewrite=LocalizedText(plain["rewrite"]["zh_cn"], plain["rewrite"]["en"]),
        pattern=lexicon.expression(plain["pattern"]),
        homophones=not plain["is_spelling_exact"],
        unless_forbidden=plain["is_excused_by_prohibition"],
        words=tuple(sorted(plain["words"])),
    )


def _whole(left: Sequence[Term], terms: Sequence[Term]) -> Lexicon:
    """All of them together; the first of the new that does not go with those before it is to blame."""

    def put_together(count: int) -> Lexicon:
        replaced = {(term.category, term.text) for term in terms[:count]}
        kept = (term for term in left if (term.category, term.text) not in replaced)
        return Lexicon.of([*kept, *terms[:count]])

    try:
        return put_together(len(terms))
    except LexiconError as error:
        fits, fails = 0, len(terms)
        told = error
        while fails - fits > 1:
            middle = (fits + fails) // 2
            try:
                put_together(middle)
                fits = middle
            except LexiconError as earlier:
                fails, told = middle, earlier
        raise Invalid("INVALID_FIELD", violations=[_violation(fails - 1, told)]) from error


def _violation(index: int, error: LexiconError) -> Violation:
    return Violation(f"terms[{index}]", Words(f"词条无效：{error}", f"is not a good term: {error}"))


def _key(plain: Mapping[str, Any]) -> Key:
    return plain["category"], plain["text"]


def _origin(before: Mapping[Key, Term], whole: Lexicon, origin: releases.Origin) -> releases.Origin:
    after = {(term.category, term.text): term for term in whole.terms}
    changed = sum(1 for key in before.keys() & after.keys() if before[key] != after[key])
    counts = (len(after.keys() - before.keys()), changed, len(before.keys() - after.keys()))
    return releases.Origin(origin.base, *counts, origin.actor, origin.reason)


def get_lexicon(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The Lexicon without its terms; else NotFound."""
    release = known(plain["name"])
    return _view(_rows().where(LexiconRelease.release == release).get(), releases.head())


def list_lexicons(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A page of lexicons, newest first."""
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, {})
    time, release = LexiconRelease.create_time, LexiconRelease.release
    query = _rows().order_by(time.desc(), release).limit(page.size + 1)
    if page.after is not None:
        last = LexiconRelease.select(time).where(release == page.after).scalar()
        query = query.where((time < last) | ((time == last) & (release > page.after)))
    rows = list(query)
    shown, head = rows[: page.size], releases.head()
    after = shown[-1].release if len(rows) > page.size else None
    return {"lexicons": [_view(row, head) for row in shown], "next_page_token": paging.token_of(after, call, {})}


def list_terms(call: Call, plain: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A page of the terms of a lexicon, filtered by category and by words in the text; else NotFound."""
    asked = {key: plain.get(key) for key in ("lexicon", "category", "text")}
    page = paging.page_of(plain.get("page_token", ""), plain.get("page_size", 0), call, asked)
    terms = releases.read(known(plain["lexicon"], "lexicon")).terms
    begin = 0 if page.after is None else page.after + 1
    wanted = (
        index
        for index in range(begin, len(terms))
        if asked["category"] in (None, "", terms[index].category) and (asked["text"] or "") in terms[index].text
    )
    shown = [index for _, index in zip(range(page.size + 1), wanted, strict=False)]
    after = shown[page.size - 1] if len(shown) > page.size else None
    views = [term_view(terms[index]) for index in shown[: page.size]]
    return {"terms": views, "next_page_token": paging.token_of(after, call, asked)}


def _rows() -> Any:
    return LexiconRelease.select(*without(LexiconRelease, LexiconRelease.terms))


def _view(row: LexiconRelease, head: str | None) -> dict[str, Any]:
    counts: Iterable[str] = ("term_count", "added_count", "changed_count", "removed_count")
    return {
        "name": name("lexicons", row.release),
        "base": row.base and name("lexicons", row.base),
        **{key: getattr(row, key) for key in (*counts, "actor", "reason", "create_time")},
        "is_head": row.release == head,
    }


def term_view(term: Term) -> dict[str, Any]:
    return {
        "text": term.text,
        "category": term.category,
        "action": term.action.upper(),
        "has_boundary": term.boundary,
        "is_spelling_exact": not term.homophones,
        "exceptions": [*term.exceptions],
        "basis": term.basis,
        "rewrite": {"zh_cn": term.rewrite.zh_cn, "en": term.rewrite.en},
        "pattern": term.pattern,
        "is_excused_by_prohibition": term.unless_forbidden,
        "words": [*term.words],
    }
