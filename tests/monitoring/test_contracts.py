"""What the sidecar knows of the contracts is what they say."""

import subprocess
import sys
from pathlib import Path

from monitoring import contracts
from registry import policy

ROOT = Path(__file__).resolve().parents[2]


def test_the_sidecar_knows_the_services_and_streams_of_the_contracts() -> None:
    assert contracts.SERVICES == policy.SERVICES
    assert [contracts.contract_of(name) for name in contracts.SERVICES] == [*map(policy.service_of, policy.SERVICES)]
    paths = {method.path for name in policy.SERVICES for method in policy.methods_of(name) if method.is_streaming}
    assert {path.rpartition(".")[2].replace("/", ".") for path in paths} == contracts.STREAMS


def test_the_sidecar_loads_no_stubs() -> None:
    code = "import monitoring.__main__, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith(("sharemesh.", "envoy.", "rich", "services"))] == []
