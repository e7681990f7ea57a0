import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from local import procfile
from local.process import is_open
from services.chassis import settings

# Ten programs start, on two cores.
UP_SECONDS = 120.0
# Draining takes 2 s, and honcho ends the last ones after 5.
END_SECONDS = 30.0


def test_scale_says_how_many_of_each() -> None:
    assert procfile.scale_of("audit=2, redeem=3") == {"entry": 1, "publish": 1, "audit": 2, "share": 1, "redeem": 3}
    assert set(procfile.scale_of("").values()) == {1}


@pytest.mark.parametrize("text", ["redeem", "redeem=0", "redeem=many", "reddem=2", "redeem=2;audit=1"])
def test_a_scale_that_makes_no_sense_is_refused_with_an_example(text: str) -> None:
    command = [sys.executable, "-m", "local", "mesh", "--scale", text]
    done = subprocess.run(command, cwd=procfile.ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.match(r"SCALE has '.*': give <service>=<1 to 99> of .*, such as audit=2,redeem=3\n", done.stderr)


def test_the_same_five_services_are_known_everywhere() -> None:
    named = re.findall(r"^(\w+): .* sharemesh serve (\w+)$", (procfile.ROOT / "Procfile").read_text(), re.MULTILINE)
    assert named == [(service, service) for service in procfile.SERVICES]
    assert settings.SERVICES == procfile.SERVICES


def test_the_mesh_comes_up_takes_a_call_and_leaves_nothing_running(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "local", "mesh", "--scale", "redeem=2", "--data", str(tmp_path / "mesh")]
        mesh = subprocess.Popen(command, cwd=procfile.ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        end = time.monotonic() + UP_SECONDS
        while "Ctrl-C ends all of it." not in log.read_text():
            assert mesh.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        told = log.read_text()
        token, url = re.findall(r"TOKEN=(\S+)", told)[0], re.findall(r"(http://\S+/v1/coupons)", told)[0]
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer) == {}
        pids = re.findall(r"started \(pid=(\d+)\)", told)
        assert len(pids) == 12
        ports = set(re.findall(r"127\.0\.0\.1:(\d+)", (tmp_path / "mesh" / "env").read_text()))
        assert len(ports) == 5
        assert all(is_open(f"127.0.0.1:{port}") for port in ports)

        mesh.send_signal(signal.SIGINT)
        assert mesh.wait(END_SECONDS) == 0
        assert "Traceback" not in log.read_text()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert not any(is_open(f"127.0.0.1:{port}") for port in ports)
    finally:
        if mesh.poll() is None:
            mesh.terminate()
            mesh.wait(END_SECONDS)
