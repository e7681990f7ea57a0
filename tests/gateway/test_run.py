"""The gateway as a process: how it starts, what it writes, how it stops, and what it outlives."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from gateway import admin
from local import envoy, ports
from local.mesh import ROOT, Mesh
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc, share_pb2, share_pb2_grpc
from tests.gateway.doors import SECONDS, Door, ask, bearer, opened
from tests.mesh import poll, request_id

CALLERS = 4
# Between two calls of one caller.
PAUSE_SECONDS = 0.01
# No limits, and some time for health checks to look away.
FREE = ("--calls-per-address", "0", "--calls-per-principal", "0")


class Load:
    """Callers who go on calling by gRPC until they are told to stop, and what they were answered."""

    def __init__(self, *doors: Door) -> None:
        self.answers: Counter[str] = Counter()
        self._over = threading.Event()
        target = "ipv4:" + ",".join(door.address for door in doors)
        self._threads = [threading.Thread(target=self._call, args=(target,)) for _ in range(CALLERS)]

    def _call(self, target: str) -> None:
        with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            redeem = redeem_pb2_grpc.RedeemServiceStub(channel)
            while not self._over.is_set():
                try:
                    redeem.ListOffers(redeem_pb2.ListOffersRequest(), timeout=SECONDS)
                    self.answers["OK"] += 1
                except grpc.RpcError as error:
                    self.answers[str(error)] += 1
                time.sleep(PAUSE_SECONDS)

    @contextmanager
    def going_on(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            self.more(50)
            yield self
            self.more(50)
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def more(self, count: int) -> None:
        """Returns after so many more answers."""
        goal = self.answers.total() + count
        poll(lambda: self.answers.total() >= goal, seconds=60)


def test_an_instance_that_is_killed_costs_no_call(mesh: Mesh, door: Door) -> None:
    victim = mesh.instances_of("redeem")[0]
    try:
        with Load(door).going_on() as load:
            victim.kill()
            load.more(200)
        assert load.answers.keys() == {"OK"}, load.answers
    finally:
        victim.start_again()
        mesh.await_passing([victim])


def test_a_write_is_retried_when_its_instance_is_killed(mesh: Mesh, door: Door) -> None:
    """Each has its request_id, so that a second try gives the first one's outcome."""
    victim = mesh.start("share")
    failures: list[grpc.RpcError] = []
    over = threading.Event()

    def write() -> None:
        with grpc.insecure_channel(door.address) as channel:
            share = share_pb2_grpc.ShareServiceStub(channel)
            while not over.is_set():
                request = share_pb2.ClaimCouponRequest(activity="activities/nosuch", request_id=request_id())
                try:
                    share.ClaimCoupon(request, metadata=tuple(bearer(mesh, "customer", "al").items()), timeout=SECONDS)
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.NOT_FOUND:
                        failures.append(error)
                time.sleep(PAUSE_SECONDS)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        before = len(door.lines())
        poll(lambda: len(door.lines()) > before + 20, seconds=60)
        victim.kill()
        before = len(door.lines())
        poll(lambda: len(door.lines()) > before + 60, seconds=60)
    finally:
        over.set()
        for writer in writers:
            writer.join()
        victim.stop()
    assert failures == []


def test_one_control_plane_of_two_is_enough(mesh: Mesh, tmp_path: Path) -> None:
    first, second = mesh.planes
    with opened(mesh, tmp_path, *FREE) as door, Load(door).going_on() as load:
        first.kill()
        extra = mesh.start("redeem")
        poll(lambda: extra.address in {line["instance"] for line in door.lines()}, seconds=60)
        first.start_again()
        second.kill()
        # It is not called once it has left, which this gateway now hears of by the other one.
        extra.stop()
        load.more(100)
        # Without any it goes on with what it knows.
        first.kill()
        load.more(50)
        first.start_again()
        second.start_again()
    assert load.answers.keys() == {"OK"}, load.answers


def test_another_takes_over_on_the_same_port_without_losing_a_call(mesh: Mesh, tmp_path: Path) -> None:
    flags = (*FREE, "--listen", f"127.0.0.1:{ports.free_one()}", "--drain-seconds", "2")
    with opened(mesh, tmp_path / "old", *flags) as old, opened(mesh, tmp_path / "new", *flags) as new:
        assert new.address == old.address
        with Load(old).going_on() as load:
            assert old.process.stop() == 0
            load.more(100)
        assert load.answers.keys() == {"OK"}, load.answers
        poll(lambda: len(new.lines()) >= 100)


def test_it_tells_balancers_when_it_drains(mesh: Mesh, tmp_path: Path) -> None:
    with opened(mesh, tmp_path, "--drain-seconds", "60") as door:
        assert ask(door, "GET", "/healthz").status == 200
        process = door.process.process
        assert process is not None
        process.terminate()
        poll(lambda: ask(door, "GET", "/healthz").status == 503)
        assert ask(door, "GET", "/v1/offers").status == 200
        # A second signal means now.
        process.terminate()
        assert process.wait(SECONDS) == 0


def test_envoy_ends_with_the_process_that_runs_it(mesh: Mesh, tmp_path: Path) -> None:
    with opened(mesh, tmp_path) as door:
        door.process.kill()

        def is_closed() -> bool:
            try:
                socket.create_connection((door.host, door.port), timeout=1).close()
            except OSError:
                return True
            return False

        poll(is_closed)


def test_it_waits_for_the_control_plane_with_its_door_closed_and_says_so(tmp_path: Path) -> None:
    nobody, port = ports.free(2)
    command = [
        sys.executable,
        "-m",
        "services",
        "gateway",
        "--listen",
        f"127.0.0.1:{port}",
        "--envoy",
        str(envoy.find()),
    ]
    command += ["--control-plane", f"127.0.0.1:{nobody}", "--var", str(tmp_path), "--logs", str(tmp_path)]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        poll(lambda: b"waits for a control plane" in (tmp_path / "said").read_bytes(), seconds=60)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0


def test_the_admin_interface_is_a_socket_of_its_owner(door: Door) -> None:
    (path,) = door.folder.glob(f"admin.{door.process.pid}.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((door.folder / "envoy.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(door.folder.stat().st_mode) == 0o700
    assert admin.is_ready(path)
    assert admin.address(path) == door.address
    for what in ("/quitquitquit", "/config_dump", "/stats", "/ready"):
        assert ask(door, "POST", what).status == 404


def test_the_access_log_is_json_without_what_is_nobodys_business(mesh: Mesh, door: Door) -> None:
    token = bearer(mesh, "customer", "somebody")
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    ask(door, "GET", "/v1/offers?city=geheimnis", headers={**token, **trace, "user-agent": "some-phone"})
    ask(door, "POST", "/v1/coupons:claim", {"activity": "activities/x", "request_id": "privat-privat"}, token)
    poll(lambda: door.lines()[-1]["path"] == "/v1/coupons:claim")
    text = door.log.read_text()
    for secret in (
        token["authorization"].partition(" ")[2],
        "geheimnis",
        "privat-privat",
        "some-phone",
        "eyJ",
        "somebody",
    ):
        assert secret not in text
    assert "/healthz" not in text
    line = next(line for line in reversed(door.lines()) if line["path"] == "/v1/offers")
    assert line["rpc"] == "/sharemesh.v1.RedeemService/ListOffers"
    assert (line["status"], line["method"], line["traceparent"]) == (200, "POST", trace["traceparent"])
    assert line["network"] == "127.0.0.0/24"
    assert line["instance"] in {one.address for one in mesh.instances_of("redeem")}


def test_the_log_is_opened_anew_after_a_rotation(mesh: Mesh, tmp_path: Path) -> None:
    with opened(mesh, tmp_path) as door:
        ask(door, "GET", "/v1/offers")
        poll(lambda: len(door.lines()) == 1)
        door.log.rename(tmp_path / "old.jsonl")
        os.kill(door.process.pid, signal.SIGUSR1)
        poll(lambda: door.log.exists())
        ask(door, "GET", "/v1/offers")
        poll(lambda: len(door.lines()) == 1)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--control-plane", ""], "--control-plane is needed"),
        (["--envoy", "/nosuch/envoy"], "/nosuch/envoy is no program"),
        (["--certificate", "cert.pem"], "--certificate and --key go together"),
        (["--listen", "8080"], "--listen '8080' is not host:port"),
        (["--calls-per-address", "many"], "--calls-per-address is not a number"),
        (["--origins", "shop.example"], "'shop.example' is not scheme://host"),
        (["--connections", "0"], "--connections is 0, but the gateway needs some"),
    ],
)
def test_what_cannot_be_is_told_by_its_name(tmp_path: Path, flags: list[str], told: str) -> None:
    given = ["--control-plane", "127.0.0.1:1", "--var", str(tmp_path), *flags]
    command = [sys.executable, "-m", "services", "gateway", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
