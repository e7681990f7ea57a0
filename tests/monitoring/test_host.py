import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes import CDLL, create_string_buffer
from pathlib import Path

import pytest

from monitoring.figures import Parts
from monitoring.host import Host
from monitoring.machine import disks, filesystems, interfaces
from monitoring.machine.disks import Disks
from monitoring.machine.interfaces import Interfaces
from monitoring.machine.processes import Processes, role_of
from monitoring.readings import Readings, key

# The kernel counts processors' time in hundredths of a second, and the two readings are not taken at the same moment:
# of half a second of two processors that is some percent.
POINTS = 8.0
SECONDS = 0.5
# What the rest of the machine may do between two readings.
BETWEEN = 256 << 20
# Stays until it is killed, with three more files open than it had.
STAND_IN = """
import signal, sys
held = [open(__file__) for _ in range(3)]
print("ready", flush=True)
signal.pause()
"""


def whole(told: Readings, name: str, *parameters: str) -> float:
    return float(told[key(name, *parameters)])


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def ran(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_shares_of_the_processors_are_those_that_the_kernel_counted() -> None:
    def times() -> list[int]:
        return [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:11]]

    host = Host()
    assert key("host.cpu", "user") not in host.read(), "nothing is known of the time before the first look"
    before = times()
    host.read()
    spin(SECONDS)
    told, after = host.read(), times()
    passed = [new - old for new, old in zip(after, before, strict=True)]
    user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice = passed
    counted = {
        "user": user - guest,
        "nice": nice - guest_nice,
        "system": system,
        "idle": idle,
        "iowait": iowait,
        "irq": irq,
        "softirq": softirq,
        "steal": steal,
        "guest": guest + guest_nice,
    }
    shares = {name: whole(told, "host.cpu", name) for name in counted}
    assert sum(shares.values()) == pytest.approx(100)
    for name, ticks in counted.items():
        assert shares[name] == pytest.approx(100 * ticks / sum(counted.values()), abs=POINTS), name
    assert whole(told, "host.cpu.used") == pytest.approx(100 - shares["idle"])
    assert shares["user"] > 100 / (os.cpu_count() or 1) / 4, "this test itself was busy"


def test_load_memory_limits_and_names_are_those_that_the_machine_tells() -> None:
    told = Host().read()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in Path("/proc/meminfo").read_text().splitlines()}
    assert told[key("host.memory.total")] == sizes["MemTotal"]
    assert whole(told, "host.memory.available") == pytest.approx(sizes["MemAvailable"], abs=BETWEEN)
    share = 100 * sizes["MemAvailable"] / sizes["MemTotal"]
    assert whole(told, "host.memory.available.share") == pytest.approx(share, abs=100 * BETWEEN / sizes["MemTotal"])
    assert told[key("host.swap.total")] == sizes["SwapTotal"]
    assert whole(told, "host.swap.free") == pytest.approx(sizes["SwapFree"], abs=BETWEEN)
    assert (key("host.swap.free.share") in told) == (sizes["SwapTotal"] > 0)
    cores = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    assert told[key("host.cpu.count")] == cores
    for minutes, load in zip(("1", "5", "15"), Path("/proc/loadavg").read_text().split(), strict=False):
        # The kernel works it out every five seconds.
        assert whole(told, "host.load", minutes) * cores == pytest.approx(float(load), abs=0.5)
    opened, _, most = Path("/proc/sys/fs/file-nr").read_text().split()
    assert told[key("host.fds.max")] == int(most)
    assert whole(told, "host.fds") == pytest.approx(int(opened), abs=2000)
    assert whole(told, "host.processes") == pytest.approx(sum(map(str.isdecimal, os.listdir("/proc"))), abs=30)
    assert told[key("host.processes.max")] == int(Path("/proc/sys/kernel/pid_max").read_text())
    assert whole(told, "host.processes.running") >= 1
    assert told[key("host.name")] == ran("uname", "-n")[0]
    assert all(word in str(told[key("host.os")]) for word in ran("uname", "-r", "-m")[0].split())
    assert told[key("host.users")] == len(ran("who"))
    assert told[key("host.passwd")] == hashlib.sha256(Path("/etc/passwd").read_bytes()).hexdigest()


def test_time_is_told_by_the_kernel() -> None:
    told = Host().read()
    assert whole(told, "host.localtime") == pytest.approx(time.time(), abs=2)
    assert whole(told, "host.uptime") == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=2)
    btime = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert btime is not None
    assert whole(told, "host.boot") == pytest.approx(int(btime[1]), abs=1)
    buffer = create_string_buffer(256)
    assert CDLL(None).adjtimex(buffer) >= 0
    _, offset, _, most, _, status = struct.unpack_from("@Illlli", buffer)
    assert told[key("host.clock.synchronized")] == int(not status & 0x40)
    assert whole(told, "host.clock.offset") == pytest.approx(offset / (1e9 if status & 0x2000 else 1e6), abs=0.01)
    assert whole(told, "host.clock.error") == pytest.approx(most / 1e6, abs=0.01)


def test_filesystems_are_as_full_as_df_says() -> None:
    told = Host().read()
    names = re.findall(r'"{#FSNAME}": "([^"]+)"', str(told[key("host.fs.discovery")]))
    assert "/" in names
    for name in names:
        _, line = ran("df", "--block-size=1", "--output=size,used,avail,pcent,ipcent", name)
        size, used, available, percent, inodes = line.replace("%", "").split()
        assert told[key("host.fs.total", name)] == int(size)
        assert whole(told, "host.fs.used", name) == pytest.approx(int(used), abs=BETWEEN)
        assert whole(told, "host.fs.free", name) == pytest.approx(int(available), abs=BETWEEN)
        # df rounds up.
        assert whole(told, "host.fs.used.share", name) == pytest.approx(int(percent), abs=1.5)
        if inodes != "-":
            assert whole(told, "host.fs.inodes.share", name) == pytest.approx(int(inodes), abs=1.5)
        options = next(line.split()[3] for line in reversed(ran("cat", "/proc/mounts")) if line.split()[1] == name)
        assert told[key("host.fs.readonly", name)] == int("ro" in options.split(","))


def test_what_is_told_seldom_is_told_again_after_a_minute_and_in_the_first_one() -> None:
    now = 0.0
    host = Host(ticks=lambda: now)
    told = {}
    for now in (0.0, 5.0, 60.0, 65.0, 119.0, 120.0):
        told[now] = host.read()
    # The items are made when the discovery has arrived.
    assert [now for now, readings in told.items() if key("host.fs.total", "/") in readings] == [0.0, 5.0, 60.0, 120.0]
    assert len({readings[key("host.fs.discovery")] for readings in told.values()}) == 1


@pytest.mark.parametrize(
    ("name", "kind", "is_shown"),
    [
        ("/", "ext4", True),
        ("/", "overlay", True),
        ("/tmp", "xfs", True),
        ("/tmp", "overlay", False),
        ("/tmp", "nfs4", False),
        ("/tmp", "tmpfs", False),
        ("/dev/shm", "ext4", False),
        ("/proc", "proc", False),
        ("/etc/passwd", "ext4", False),
    ],
)
def test_filesystems_on_disks_are_shown(name: str, kind: str, is_shown: bool) -> None:
    assert filesystems.is_shown(name, kind) == is_shown


def test_a_disk_does_what_its_own_statistics_say(tmp_path: Path) -> None:
    def counted(name: str) -> list[int]:
        return [int(number) for number in Path(f"/sys/block/{name}/stat").read_text().split()]

    reader = Disks()
    first = reader.disks(begin := time.monotonic())
    names = re.findall(r'"{#DEVICE}": "([^"]+)"', str(first[key("host.disk.discovery")]))
    assert names, "no disk"
    assert key("host.disk.reads", names[0]) not in first
    before = {name: counted(name) for name in names}
    with (tmp_path / "written").open("wb") as file:
        for _ in range(8):
            file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    after = {name: counted(name) for name in names}
    told = reader.disks(end := time.monotonic())
    written = 0.0
    for name in names:
        new = [late - early for late, early in zip(after[name], before[name], strict=True)]
        seconds = end - begin
        # Others write as well between the two readings.
        for figure, place, factor in (("reads", 0, 1), ("writes", 4, 1), ("read", 2, 512), ("written", 6, 512)):
            count = whole(told, f"host.disk.{figure}", name) * seconds
            assert count == pytest.approx(new[place] * factor, rel=0.25, abs=64 * factor), figure
        if new[4]:
            waited = new[7] / new[4] / 1000
            assert whole(told, "host.disk.write.await", name) == pytest.approx(waited, rel=0.3, abs=0.002)
        assert whole(told, "host.disk.utilization", name) == pytest.approx(new[9] / 10 / seconds, rel=0.3, abs=10)
        assert whole(told, "host.disk.queue", name) == pytest.approx(new[10] / 1000 / seconds, rel=0.3, abs=0.5)
        written += whole(told, "host.disk.written", name) * seconds
    if filesystem_has_disk(tmp_path):
        assert written >= 8 << 20


def filesystem_has_disk(path: Path) -> bool:
    """Whether what is written there goes to one of the machine's disks."""
    number = path.stat().st_dev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").exists()


def test_a_disk_that_did_nothing_kept_nobody_waiting() -> None:
    assert disks.average(0.0, 0.0) == 0.0
    assert disks.average(50.0, 10.0) == 0.005, "50 ms a second for ten a second"
    assert disks.average(None, None) is None


@pytest.mark.parametrize("name", ["loop0", "dm-3", "md127", "sr0", "zram0", "ram1", "nbd4", "fd0"])
def test_what_is_no_disk_of_its_own_is_hidden(name: str) -> None:
    assert disks.HIDDEN.fullmatch(name)


@pytest.mark.parametrize("name", ["sda", "vda", "xvdf", "nvme0n1", "mmcblk0", "sdaa"])
def test_disks_are_shown(name: str) -> None:
    assert not disks.HIDDEN.fullmatch(name)


def test_an_interface_carries_what_the_kernel_counted() -> None:
    def counted() -> list[int]:
        folder = Path("/sys/class/net/lo/statistics")
        return [int((folder / name).read_text()) for name in ("rx_bytes", "tx_bytes", "rx_errors", "tx_dropped")]

    reader = Interfaces(hidden=re.compile("(?!)"))
    begin = time.monotonic()
    first = reader.interfaces(begin)
    before = counted()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as out:
        into, _ = server.accept()
        with into:
            for _ in range(200):
                out.sendall(bytes(10_000))
                left = 10_000
                while left:
                    left -= len(into.recv(left))
    after = counted()
    end = time.monotonic()
    told = reader.interfaces(end)
    received, sent, errors, dropped = (late - early for late, early in zip(after, before, strict=True))
    assert received >= 2_000_000
    # Other tests use the loopback, too.
    assert whole(told, "host.net.in", "lo") * (end - begin) == pytest.approx(8 * received, rel=0.2)
    assert whole(told, "host.net.out", "lo") * (end - begin) == pytest.approx(8 * sent, rel=0.2)
    assert whole(told, "host.net.in.errors", "lo") * (end - begin) == pytest.approx(errors)
    assert whole(told, "host.net.out.dropped", "lo") * (end - begin) == pytest.approx(dropped)
    assert told[key("host.net.up", "lo")] == 1
    assert told[key("host.net.speed", "lo")] == 0
    assert key("host.net.utilization", "lo") not in told, "of an unknown speed there is no share"
    assert key("host.net.in", "lo") not in first


def test_the_machine_s_own_interfaces_are_shown_with_speed_and_state() -> None:
    told = Host().read()
    shown = re.findall(r'"{#INTERFACE}": "([^"]+)"', str(told[key("host.net.discovery")]))
    for name in shown:
        folder = Path("/sys/class/net", name)
        is_up = (folder / "operstate").read_text().strip() in ("up", "unknown")
        assert told[key("host.net.up", name)] == int(is_up), name
        try:
            speed = int((folder / "speed").read_text())
        except OSError:
            speed = 0
        assert told[key("host.net.speed", name)] == max(0, speed) * 1_000_000
    assert "lo" not in shown


@pytest.mark.parametrize("name", ["lo", "veth0a1b2c3", "docker0", "br-0123456789ab", "cali1", "ifb0", "tunl0"])
def test_interfaces_of_software_are_hidden(name: str) -> None:
    assert interfaces.HIDDEN.fullmatch(name)


@pytest.mark.parametrize("name", ["eth0", "ens3", "enp0s31f6", "bond0", "wlan0", "wg0", "br0"])
def test_interfaces_are_shown(name: str) -> None:
    assert not interfaces.HIDDEN.fullmatch(name)


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("/srv/.venv/bin/python3 /srv/.venv/bin/sharemesh serve redeem --database x", "redeem"),
        ("/srv/.venv/bin/sharemesh serve --zone a entry", "entry"),
        ("python -m services serve publish", "publish"),
        ("python3.11 -u -X dev -W error -m services serve audit", "audit"),
        ("python -m services serve all", "all"),
        ("python -m services run", "all"),
        ("python -m registry --listen 127.0.0.1:0", "control-plane"),
        ("/usr/bin/python3 -m monitoring --beat 1", "sidecar"),
        ("/srv/envoy/_bin/envoy --config-path var/gateway/envoy.json", "gateway"),
        ("python /usr/bin/sharemesh gateway --listen 127.0.0.1:8080", "gateway"),
        ("python -m services migrate", ""),
        ("python -m local after consul -- sharemesh serve entry", ""),
        ("grep sharemesh serve redeem", ""),
        ("vim monitoring", ""),
        ("python -m registrya", ""),
        ("python -m", ""),
        ("python", ""),
        ("", ""),
    ],
)
def test_processes_of_ours_are_known_by_their_command_lines(command: str, role: str) -> None:
    assert role_of(command.split()) == role


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed in the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def stand_in(folder: Path, service: str, children: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A process whose command line is that of a service."""
    script = folder / "sharemesh"
    script.write_text(STAND_IN)
    child = subprocess.Popen([sys.executable, script, "serve", service], stdout=subprocess.PIPE, text=True)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_processes_have_the_memory_and_the_files_that_the_kernel_tells(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    two = [stand_in(tmp_path, "share", children) for _ in range(2)]
    one = stand_in(tmp_path, "entry", children)
    reader = Processes(lambda: [child.pid for child in (*two, one)])
    reader.processes(0.0)
    told = reader.processes(1.0)
    assert told[key("host.process.discovery")] == '[{"{#ROLE}": "entry"}, {"{#ROLE}": "share"}]'
    assert [told[key("host.process.count", role)] for role in ("entry", "share")] == [1, 2]
    memory = 0
    for child in two:
        status = Path(f"/proc/{child.pid}/status").read_text()
        memory += int(status.split("VmRSS:")[1].split()[0]) << 10
    assert whole(told, "host.process.memory", "share") == pytest.approx(memory, rel=0.1)
    fds = [len(os.listdir(f"/proc/{child.pid}/fd")) for child in two]
    assert told[key("host.process.fds", "share")] == sum(fds)
    limits = Path(f"/proc/{two[0].pid}/limits").read_text()
    limit = int(limits.split("Max open files")[1].split()[0])
    assert whole(told, "host.process.fds.share", "share") == pytest.approx(100 * max(fds) / limit)
    assert told[key("host.process.cpu", "entry")] == 0.0, "it only waits"


def test_a_process_that_ended_is_missed_at_once_and_found_as_soon_as_it_is_back(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    stand_in(tmp_path, "audit", children)
    reader = Processes(lambda: [child.pid for child in children])
    assert reader.processes(0.0)[key("host.process.count", "audit")] == 1
    # Not waited for yet, so it is still in the kernel's list.
    children[0].kill()
    os.waitid(os.P_PID, children[0].pid, os.WEXITED | os.WNOWAIT)
    told = reader.processes(1.0)
    assert [told[key(f"host.process.{name}", "audit")] for name in ("count", "memory", "fds", "cpu")] == [0, 0, 0, 0]
    children[0].wait()
    stand_in(tmp_path, "audit", children)
    assert reader.processes(2.0)[key("host.process.count", "audit")] == 1


def test_a_process_that_is_busy_shows_how_much(tmp_path: Path, children: list[subprocess.Popen[str]]) -> None:
    script = tmp_path / "sharemesh"
    script.write_text("print('ready', flush=True)\nwhile True: pass\n")
    child = subprocess.Popen([sys.executable, script, "serve", "redeem"], stdout=subprocess.PIPE, text=True)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"

    def spent() -> float:
        user, system = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    reader = Processes(lambda: [child.pid])
    reader.processes(begin := time.monotonic())
    before = spent()
    spin(SECONDS)
    after = spent()
    told = reader.processes(end := time.monotonic())
    share = 100 * (after - before) / (end - begin)
    assert whole(told, "host.process.cpu", "redeem") == pytest.approx(share, abs=POINTS)
    assert share > POINTS


def test_one_figure_that_cannot_be_read_loses_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def first(now: float) -> Readings:
        return {"first": now}

    def broken(now: float) -> Readings:
        raise PermissionError(13, "Permission denied", "/proc/stat")

    def last(now: float) -> Readings:
        return {"last": now}

    parts = Parts((first, broken, last))
    assert parts.read(1.0) == {"first": 1.0, "last": 1.0}
    assert parts.read(2.0) == {"first": 2.0, "last": 2.0}
    assert [record.args for record in caplog.records] == [
        {"figure": "broken", "error": "PermissionError: [Errno 13] Permission denied: '/proc/stat'"}
    ], "and it is logged once"
