from pathlib import Path

import pytest

from local.mesh import Mesh
from local.process import NotReady, is_open
from local.procfile import SERVICES

NOBODY = dict.fromkeys(SERVICES, 0)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_instances_come_go_and_come_back_and_all_end_with_the_mesh(maria_url: str, tmp_path: Path) -> None:
    with Mesh(tmp_path, {**NOBODY, "redeem": 1}, planes=1, gateway=False, database=maria_url) as mesh:
        (first,) = mesh.instances_of("redeem")
        assert mesh.passing("redeem") == {first.address}
        second = mesh.start("redeem", release="v2", zone="east")
        assert mesh.passing("redeem") == {first.address, second.address}
        listed = mesh.run("mesh", "status")
        assert "v2" in listed
        assert "east" in listed

        first.stop()
        assert mesh.passing("redeem") == {second.address}
        first.start_again()
        mesh.await_passing([first])
        second.kill()
        assert mesh.instances_of("redeem") == [first]
        pids = [first.pid, mesh.planes[0].pid, mesh.consuls[0].pid]
    assert all(map(is_gone, pids))
    assert not is_open(mesh.consuls[0].address)
    assert not is_open(mesh.planes[0].address)


def test_a_mesh_ends_with_the_test_that_fails_in_it(maria_url: str, tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, NOBODY, planes=1, gateway=False, database=maria_url)
    with pytest.raises(ZeroDivisionError), mesh:
        raise ZeroDivisionError
    assert not is_open(mesh.consuls[0].address)
    assert not is_open(mesh.planes[0].address)


def test_what_cannot_start_says_why_and_leaves_nothing_running(maria_url: str, tmp_path: Path) -> None:
    settings = {"SHAREMESH_CODE_GENERATION": "many"}
    mesh = Mesh(tmp_path, {**NOBODY, "audit": 1}, 1, gateway=False, database=maria_url, settings=settings)
    with pytest.raises((NotReady, RuntimeError), match="SHAREMESH_CODE_GENERATION is not a number"), mesh:
        raise AssertionError("it started")
    assert not is_open(mesh.consuls[0].address)
    assert not any(process.is_running for process in (*mesh.planes, *mesh.instances))
