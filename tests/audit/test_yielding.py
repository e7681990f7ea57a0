"""A lexicon is made ready in a process that serves, and those who are served do not notice."""

import asyncio
import gc
import random
import sys
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest

from services.audit import lexicon, releases
from services.audit.engine import Engine
from services.audit.lexicon import Lexicon
from services.audit.matcher import Matcher
from services.audit.yielding import lasting, yielding
from services.chassis import database
from services.chassis.database import Database
from tests.conftest import migrated
from tests.publish.scene import LEXICON, NOW, PATHS, STRICTER, term

TERMS = 20_000
PAUSE_SECONDS = 0.05
# What else runs on the machine pauses it too; what the code itself does comes again each time.
TRIES = 3


def large(seed: int) -> Lexicon:
    """The program's own terms, with so many others that there are 20,000."""
    chance = random.Random(seed)
    known = lexicon.load().terms
    folded = {lexicon.FOLD.text(one.text) for one in known}
    others: dict[str, str] = {}
    while len(known) + len(others) < TERMS:
        word = "".join(chr(chance.randrange(0x4E00, 0x5E00)) for _ in range(5))
        text = lexicon.FOLD.text(word)
        if text.isalnum() and text not in folded:
            others.setdefault(text, word)
    return Lexicon.of([*known, *map(term, others.values())])


async def longest_pause(db: Database, engine: Engine) -> float:
    """For how long the event loop did not get its turn while the engine went over to the head, in seconds."""
    following = asyncio.create_task(db.run(engine.follow, NOW))
    worst, last = 0.0, time.monotonic()
    while not following.done():
        await asyncio.sleep(0.001)
        worst, last = max(worst, time.monotonic() - last), time.monotonic()
    await following
    return worst


def test_twenty_thousand_terms_are_loaded_without_a_pause_of_fifty_milliseconds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    migrated(url)
    db = database.bind(url)
    engine = Engine(PATHS, lambda: LEXICON)
    db.run_here(engine.start, NOW)
    pauses = []
    for seed in range(TRIES):
        made = large(seed)
        db.run_here(releases.adopt, made, NOW)
        pauses.append(asyncio.run(longest_pause(db, engine)))
        assert db.run_here(engine.judge_text, "茶", NOW).release == made.release
        if pauses[-1] < PAUSE_SECONDS:
            break
    db.close()
    assert min(pauses) < PAUSE_SECONDS


def test_a_lexicon_that_another_took_the_place_of_is_freed_at_once(tmp_path: Path) -> None:
    """What lasts is left out of garbage collections, so that a cycle in it would stay for ever."""
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    migrated(url)
    db = database.bind(url)
    engine = Engine(PATHS, lambda: LEXICON)
    db.run_here(engine.start, NOW)
    before = weakref.ref(db.run_here(engine.follow, NOW))
    db.run_here(releases.adopt, STRICTER, NOW)
    gc.disable()
    try:
        db.run_here(engine.follow, NOW)
        assert before() is None
    finally:
        gc.enable()
    db.close()


def test_others_get_their_turn_as_before_once_the_last_has_ended() -> None:
    before = sys.getswitchinterval()
    with yielding():
        with yielding():
            assert sys.getswitchinterval() < before
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_garbage_is_collected_again_even_after_a_failure() -> None:
    def fail() -> None:
        with lasting():
            assert not gc.isenabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()


def test_a_lexicon_that_is_let_go_leaves_nothing_for_the_collector() -> None:
    """What lasts is left out of collections, so that a cycle in it would stay for good with each release."""

    def living() -> Counter[str]:
        types = (type(one) for one in gc.get_objects())
        return Counter(one.__qualname__ for one in types if str(one.__module__).startswith("services.audit"))

    gc.collect()
    gc.disable()
    try:
        before = living()
        matcher = Matcher(LEXICON)
        matcher.find("w3ix1n 微亻言 weixin 薇信")
        assert living() != before
        del matcher
        assert living() == before
    finally:
        gc.enable()
