import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.chassis.errors import Invalid
from services.chassis.keys import Keyring, kept
from services.chassis.names import name, new_uid, uid_of


def test_a_name_gives_its_uid_back() -> None:
    uid = new_uid()
    assert uid_of("stores", name("stores", uid)) == uid


def test_uids_differ() -> None:
    assert len({new_uid() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    ["", "stores", "stores/", "stores/a/b", "activities/" + "a" * 20, "stores/" + "A" * 20, "stores/" + "a" * 65],
)
def test_a_malformed_name_is_an_invalid_field(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        uid_of("stores", text, field="parent")
    assert [violation.field for violation in refusal.value.violations] == ["parent"]


def test_a_keyring_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "var" / "master.key"
    first = Keyring.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Keyring.open(path).derive("paging") == first.derive("paging")


def test_purposes_and_generations_have_keys_of_their_own(tmp_path: Path) -> None:
    keys = Keyring.open(tmp_path / "master.key")
    assert len({keys.derive("a"), keys.derive("b"), keys.derive("a", generation=1)}) == 3


def test_a_short_master_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Keyring.open(tmp_path / "master.key")


def test_starters_at_the_same_time_get_the_same_bytes_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(lambda number: kept(path, lambda: b"%032d" % number), range(64)))
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == [path]
