import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from registry import config
from services.chassis import settings
from services.chassis.settings import BadSetting, Settings


def read(*flags: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    return settings.read(parser.parse_args(flags), environment)


def test_without_flags_or_environment_the_product_runs_embedded() -> None:
    found = read()
    assert found.database == "sqlite:///var/sharemesh.db"
    assert isinstance(found.registry, config.Static)
    assert found.registry.targets["redeem"] == "127.0.0.1:50055"
    assert found.port_of("redeem") == 50055


def test_flags_win_over_the_environment() -> None:
    assert read("--port", "6000", SHAREMESH_PORT="7000", SHAREMESH_HOST="0.0.0.0").port == 6000
    assert read(SHAREMESH_PORT="7000").port_of("publish") == 7001


MESH = ("--registry", "consul://127.0.0.1:8500", "--control-plane", "127.0.0.1:18000,[::1]:18001")


def test_an_instance_of_the_mesh_says_where_it_is_and_what_it_is(tmp_path: Path) -> None:
    flags = ("--zone", "a", "--release", "v2", "--canary", "10", "--advertise", "shop-1.example")
    found = read(*MESH, *flags, "--tls", str(tmp_path))
    found.check_mesh()
    assert found.registry == config.Consul(("127.0.0.1:8500",))
    assert (found.zone, found.release, found.canary, found.advertise) == ("a", "v2", 10, "shop-1.example")
    assert (found.control_plane, found.tls) == ("127.0.0.1:18000,[::1]:18001", tmp_path)


def test_without_a_word_an_instance_is_of_the_first_release_without_a_canary() -> None:
    read().check_mesh()
    assert (read().release, read().canary, read().zone, read().tls) == ("v1", None, "", None)
    assert read(SHAREMESH_CANARY="", SHAREMESH_ZONE="").canary is None


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (MESH[:2], "^--control-plane is needed with --registry consul://.*python -m registry"),
        ((*MESH, "--host", "0.0.0.0"), "^--advertise is needed with --host 0.0.0.0"),
        ((*MESH, "--host", "::"), "^--advertise is needed with --host ::"),
        (("--tls", "."), "^--tls needs the mesh: --registry consul://"),
    ],
)
def test_half_a_mesh_is_refused_and_told_what_is_missing(flags: Sequence[str], complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint):
        read(*flags).check_mesh()


def test_an_address_for_all_is_fine_with_a_name_for_others() -> None:
    read(*MESH, "--host", "0.0.0.0", "--advertise", "shop-1.example").check_mesh()


def test_port_zero_means_a_free_port_for_each() -> None:
    assert [read("--port", "0").port_of(service) for service in settings.SERVICES] == [0] * 5


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--port", "abc"),
        ("--port", "65533"),
        ("--metrics-port", "-1"),
        ("--code-generation", "-1"),
        ("--code-generation", "one"),
        ("--code-generation", ""),
        ("--database", "postgres://x/y"),
        ("--database", "sqlite:///"),
        ("--database", "mysql:///name"),
        ("--database", "mysql://host:port/name"),
        ("--registry", "entry=1:2"),
        ("--registry", "static:entry=nowhere"),
        ("--registry", "static:entry=h:1,entry=h:2"),
        ("--registry", "static:entry=h:0"),
        ("--registry", "consul://"),
        ("--registry", "consul://:8500"),
        ("--registry", "etcd://127.0.0.1:2379"),
        ("--registry-token", "/no/such/file"),
        ("--control-plane", "nowhere"),
        ("--control-plane", "127.0.0.1:18000,"),
        ("--control-plane", "127.0.0.1:0"),
        ("--zone", "Zone A"),
        ("--release", ""),
        ("--release", "v2,v3"),
        ("--canary", "101"),
        ("--canary", "10%"),
        ("--advertise", "0.0.0.0"),
        ("--advertise", "::"),
        ("--advertise", "a,b"),
        ("--tls", "/no/such/folder"),
        ("--auth", "none"),
        ("--auth", "jwks="),
        ("--auth", "jwks=/no/such/file"),
        ("--images", "folder"),
        ("--images", "foo://folder"),
        ("--issuer", ""),
    ],
)
def test_a_bad_value_fails_by_the_name_it_was_given(flag: str, value: str) -> None:
    variable = "SHAREMESH_" + flag.removeprefix("--").upper().replace("-", "_")
    with pytest.raises(BadSetting, match=f"^{flag} "):
        read(f"{flag}={value}")
    with pytest.raises(BadSetting, match=f"^{variable} "):
        read(**{variable: value})


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@:x/",
        "mysql://user:p@ss:hunter2/rd@host/name",
        "mysql://user:12/hunter2@host/name",
        "mysql://user:1?hunter2@host/name",
        "mysql://user:1#hunter2@host/name",
        "mysql://user:hunter2@[host/name",
    ],
)
def test_a_password_is_not_repeated_in_the_complaint(url: str) -> None:
    with pytest.raises(BadSetting) as complaint:
        read("--database", url)
    assert "hunter2" not in str(complaint.value)


def test_a_password_that_is_not_encoded_is_told_so() -> None:
    with pytest.raises(BadSetting, match=r"^--database is not mysql://user:password@host:port/name; percent-encode"):
        read("--database", "mysql://u:p@ss:w/rd@127.0.0.1:3306/sharemesh")


def test_help_tells_every_flag_with_its_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    text = " ".join(parser.format_help().split())
    for name in Settings.__dataclass_fields__:
        assert f"[SHAREMESH_{name.upper()}; default: " in text


def test_a_jwks_file_that_exists_is_taken(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    assert read("--auth", f"jwks={tmp_path}/keys.json").auth.endswith("keys.json")
