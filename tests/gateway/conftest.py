"""One real mesh and one gateway with default limits for all tests of the gateway; some start gateways of their own."""

from collections.abc import Iterator

import pytest

from local import mariadb
from local.mesh import Mesh
from tests.gateway.doors import Door, opened


@pytest.fixture(scope="session")
def mesh(maria: mariadb.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Consul, two control planes and an instance of each service; no gateway."""
    url = maria.fresh("gateway")
    with Mesh(tmp_path_factory.mktemp("mesh"), scale={"redeem": 2}, gateway=False, database=url) as running:
        yield running


@pytest.fixture(scope="session")
def door(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway whose rate limits are out of the way."""
    flags = ("--calls-per-address", "0", "--calls-per-principal", "0")
    with opened(mesh, tmp_path_factory.mktemp("door"), *flags) as one:
        yield one
