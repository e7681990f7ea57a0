"""A Java client, which shares no code with ours, finds the services through the control plane by grpc-java's xDS."""

import fcntl
import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from local import maven, packages
from local.mesh import Mesh
from local.process import Process
from services.chassis import database
from tests.callers import lay
from tests.mesh import poll

CLIENT = Path(__file__).resolve().parent
PROTOS = CLIENT.parent.parent / "protos"
OUTPUT = packages.CACHE / "interop"
# It takes 20 s with Maven's own store filled, and must first fetch 80 MB without.
BUILD_SECONDS = 280
# A call that takes milliseconds is given up by the client after 20 s.
END_SECONDS = 30.0
# A new instance gets its share of the calls within a second of being found healthy.
SHARE_SECONDS = 30.0
CALLS = 20
NO_SUCH = "activities/zzzzzzzzzzzzzzzzzzzz"


class Told(NamedTuple):
    """What the client says of a call; `reason` and `instance` are "-" where there is none."""

    rpc: str
    status: str
    reason: str
    listed: int
    instance: str


@dataclass
class Client:
    """The running client."""

    process: "subprocess.Popen[str]"

    def call(self, *words: str) -> Told:
        """One call, such as call("ListOffers")."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        rpc, status, reason, listed, instance = self.process.stdout.readline().split()
        return Told(rpc, status, reason, int(listed), instance)

    def calls(self, count: int, *words: str) -> list[Told]:
        return [self.call(*words) for _ in range(count)]


@pytest.fixture(scope="session")
def java() -> list[str]:
    """The command line of the client, built by Maven unless it is built already."""
    programs = maven.find()
    built, wanted = OUTPUT / "built", digest()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (OUTPUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.read_text() != wanted:
            build(programs)
            built.write_text(wanted)
    # It lives for seconds: compiling well what is run a few times costs more than it saves.
    return [programs.java, "-XX:TieredStopAtLevel=1", "-cp", f"{OUTPUT}/classes:{OUTPUT}/lib/*", "interop.Client"]


def digest() -> str:
    """Of everything that the client is built from."""
    sources = [CLIENT / "pom.xml", *CLIENT.rglob("*.java"), *PROTOS.rglob("*.proto")]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sorted(sources))).hexdigest()


def build(programs: maven.Programs) -> None:
    command = [programs.maven, "--batch-mode", "--quiet", f"-Doutput={OUTPUT}", "process-classes"]
    done = subprocess.run(
        command, cwd=CLIENT, env=programs.environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, (
        f"Maven did not build the client; run `mvn process-classes` in {CLIENT}, with access to Maven's repositories: "
        f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The services as processes of their own, two of redeem, with one activity to offer."""
    folder = tmp_path_factory.mktemp("mesh")
    url = f"sqlite:///{folder}/sharemesh.db"
    with Mesh(folder, scale={"redeem": 2}, planes=1, gateway=False, database=url) as running:
        bound = database.bind(url, pool=1)
        bound.run_here(lay)
        bound.close()
        yield running


@contextmanager
def running(command: list[str], planes: list[Process]) -> Iterator[Client]:
    """The client with a bootstrap of its own, since grpc-java takes no list of addresses in one URI: it wants a name
    that resolves to all planes, or an entry for each."""
    servers = [
        {
            "server_uri": f"dns:///{plane.address}",
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }
        for plane in planes
    ]
    bootstrap = {"node": {"id": "interop", "cluster": "mesh", "locality": {"zone": ""}}, "xds_servers": servers}
    # Nothing of the environment but what Java needs: no setting of ours helps it.
    environment = {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(END_SECONDS)
        finally:
            process.kill()
            process.wait()


# Building may take most of the usual limit.
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_a_java_client_reads_is_refused_and_outlives_an_instance(mesh: Mesh, java: list[str]) -> None:
    first, second = mesh.instances_of("redeem")
    (share,) = mesh.instances_of("share")
    with running(java, mesh.planes) as client:
        told = client.calls(CALLS, "ListOffers")
        assert {one[:4] for one in told} == {("ListOffers", "OK", "-", 1)}
        assert {one.instance for one in told} == {first.address, second.address}
        assert client.call("ListShareable") == ("ListShareable", "OK", "-", 1, share.address)
        refused = client.call("GetOffer", NO_SUCH)
        assert refused[:4] == ("GetOffer", "NOT_FOUND", "RESOURCE_NOT_FOUND", 0)
        # A write.
        forged = client.call("RecordVisit", "AAAAAAAAAAAA", "visitor-0001")
        assert forged == ("RecordVisit", "INVALID_ARGUMENT", "SHARE_CODE_INVALID", 0, share.address)

        first.kill()
        told = client.calls(CALLS, "ListOffers")
        assert [(one.status, one.instance) for one in told] == [("OK", second.address)] * CALLS

        third = mesh.start("redeem")
        poll(lambda: client.call("ListOffers").instance == third.address, SHARE_SECONDS)
