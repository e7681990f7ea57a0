from pathlib import Path

import pytest

from local import envoy, packages
from local.packages import Missing


def test_without_apt_one_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"no apt to fetch it with: install Consul so that its programs are on PATH"):
        packages.fetch(tmp_path / "root", "Consul", ["consul"], suite="bullseye")


def test_an_envoy_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "envoy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert envoy.find() == program
