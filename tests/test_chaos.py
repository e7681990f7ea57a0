"""The rows of `make chaos` in a short form: a real mesh under load, and callers who may notice nothing."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chaos import books, canary
from chaos.__main__ import BETWEEN, GUARD, GUARDED, NOBODY, PLAIN, ROWS, run
from chaos.caller import MAKING, METHODS
from chaos.counting import Counting
from chaos.load import Answers, Plan
from chaos.report import Result, Screen
from chaos.rows import Row
from services.chassis import database
from services.schema import migrate
from sharemesh.v1 import redeem_pb2
from tests.mesh import Clock, Mesh, poll, started

# On two cores the mesh gets too little beside other tests.
pytestmark = pytest.mark.alone

# Of every row: long enough that what is done is felt, many times a call's length. `make chaos` is what measures.
TIMES = {"outage": 2.0, "settle": 0.7, "grace": 6.0, "slack": 5.0}
RATE = 80.0
# What other tests do to real planes, callers and Consul (test_plane.py, test_registration.py, test_mesh.py) is left to
# them.
SHORT = tuple(row for row in ROWS if row.name not in {"steady", "plane", "start", "dead"})
# Longer than a second, so that calls are under way whenever the server ends.
# An operator changes the lexicon now and then, and every change judges all activities again: no load of a mesh.
LEXICON = {
    "GetLexicon",
    "GetRollout",
    "ImportTerms",
    "ListLexicons",
    "ListRollouts",
    "ListTerms",
    "ReleaseLexicon",
    "RollbackLexicon",
    "TestLexicon",
}
LOADED_SECONDS = 3.0


def results_of(rows: tuple[Row, ...], folder: Path, **shape: Any) -> dict[str, Result]:
    """The results by title, after the ledger was compared with every answer."""
    results, disagreements, answers = run(rows, folder, RATE, Screen(), TIMES, **shape)
    assert disagreements == []
    assert answers > 0
    return {result.title: result for result in results}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The rows on one mesh."""
    return results_of(SHORT, tmp_path_factory.mktemp("plain"), **PLAIN)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Every row on a mesh with ACLs and mutual TLS."""
    doubt = {"SHAREMESH_GRACE": f"{TIMES['grace']}"}
    return results_of(GUARDED, tmp_path_factory.mktemp("guarded"), **GUARD, settings=doubt)


@pytest.mark.parametrize("title", [*(row.title for row in SHORT), BETWEEN])
def test_callers_of_a_mesh_notice_no_more_than_is_wanted(plain: dict[str, Result], title: str) -> None:
    result = plain[title]
    assert result.complaints == []
    if result.wanted == NOBODY:
        assert result.failed == 0


@pytest.mark.parametrize("title", [*(row.title for row in GUARDED), BETWEEN])
def test_callers_of_a_guarded_mesh_notice_nothing(guarded: dict[str, Result], title: str) -> None:
    assert guarded[title].complaints == []
    assert guarded[title].failed == 0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A migrated, empty database."""
    url = f"sqlite:///{tmp_path}/sharemesh.db"
    bound = database.bind(url, pool=1)
    bound.run_here(migrate.up)
    bound.close()
    return url


def load_on(mesh: Mesh, folder: Path) -> Counting:
    """Callers of a server without anything between, who call as fast as they can."""
    load = Counting(Plan(str(folder / "record"), str(folder), mesh.addresses, rate=400.0, callers=12), folder)
    load.await_ready()
    return load


def test_a_load_makes_every_kind_of_call_and_its_books_tell_what_is_lost_or_done_twice(
    url: str, tmp_path: Path
) -> None:
    with started(url, tmp_path, Clock(datetime.now(UTC))) as mesh:
        load = load_on(mesh, tmp_path)
        try:
            time.sleep(LOADED_SECONDS)
            answers, seen = load.stop(), load.take()
        finally:
            load.kill()
    assert seen.failed == []
    assert {one.rpc for one in seen.tries} == METHODS.keys() - {"WatchActivity"} - LEXICON
    assert books.disagreements(url, answers) == []
    for rpc in MAKING:
        told = dict(answers.made[rpc])
        request_id, name = told.popitem()
        fewer = Answers({**answers.made, rpc: told})
        assert books.disagreements(url, fewer) == [f"{rpc}: 1 exist that nobody was told of, such as {name}"]
        lost = Answers({**answers.made, rpc: {**answers.made[rpc], "lost": "no/where"}})
        assert "1 of" in str(books.disagreements(url, lost))
        twice = Answers({**answers.made, rpc: {**answers.made[rpc], "twice": name}})
        assert books.disagreements(url, twice) == [f"{rpc}: two requests were answered with the same name"]
        assert request_id


def test_callers_count_what_is_not_answered_and_streams_that_break(url: str, tmp_path: Path) -> None:
    with started(url, tmp_path, Clock(datetime.now(UTC))) as mesh:
        load = load_on(mesh, tmp_path)
    try:
        poll(lambda: bool(load.take().failed))
    finally:
        load.kill()


def test_a_next_release_is_this_one_with_one_more_field(tmp_path: Path) -> None:
    checkout = canary.checkout(tmp_path / "v2")
    told = "from sharemesh.v1 import redeem_pb2 as m; print(m.Offer.DESCRIPTOR.fields[-1].name)"
    done = subprocess.run([sys.executable, "-c", told], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == canary.FIELD
    assert canary.FIELD not in redeem_pb2.Offer.DESCRIPTOR.fields_by_name
