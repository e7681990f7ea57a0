"""`sharemesh certs`: what it makes, keeps, replaces and refuses."""

import argparse
import os
import shutil
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from registry import certs, identity
from registry.authority import Authority, hosts_of
from registry.identity import IDENTITIES

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("certs") / "tls"
    certs.make(out)
    return out


@pytest.fixture
def out(original: Path, tmp_path: Path) -> Path:
    """A folder of its own, as `sharemesh certs` made it."""
    return shutil.copytree(original, tmp_path / "tls", symlinks=True)


def settled() -> None:
    """Nobody is running who would have to read anything."""


def command(*flags: str) -> int:
    parser = argparse.ArgumentParser()
    certs.add_arguments(parser)
    return certs.run(parser.parse_args(flags))


def leaf(out: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((out / name / "cert.pem").read_bytes())


def bundle(out: Path, name: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((out / name / "ca.pem").read_bytes())


def is_accepted(certificate: x509.Certificate, trusted: list[x509.Certificate]) -> bool:
    try:
        PolicyBuilder().store(Store(trusted)).build_client_verifier().verify(certificate, [])
    except VerificationError:
        return False
    return True


def are_all_accepted_by_all(out: Path) -> bool:
    return all(is_accepted(leaf(out, one), bundle(out, other)) for one in IDENTITIES for other in IDENTITIES)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.pem") if ".now" not in str(path)}


def test_every_identity_gets_a_certificate_that_all_others_accept(out: Path) -> None:
    assert are_all_accepted_by_all(out)
    for name in IDENTITIES:
        names = leaf(out, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://sharemesh/{name}"]
        assert {"localhost", "127.0.0.1", "::1"} <= {*hosts_of(leaf(out, name))}
        identity.check(out / name)


def test_keys_are_their_owners_alone_and_the_cas_is_in_no_identitys_folder(out: Path) -> None:
    keys = [*out.rglob("key.pem")]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert {stat.S_IMODE((out / name).stat().st_mode) for name in (*IDENTITIES, "authority")} == {0o700}
    secret = (out / "authority/key.pem").read_bytes()
    assert not [key for key in keys if key.read_bytes() == secret and "authority" not in key.parts]


def test_a_careless_umask_and_a_strict_one_leave_keys_as_they_should_be(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        certs.make(tmp_path / "tls")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(key.stat().st_mode) for key in tmp_path.rglob("key.pem")} == {0o600}


def test_a_second_run_renews_every_leaf_under_the_same_ca(out: Path) -> None:
    before = {name: leaf(out, name).serial_number for name in IDENTITIES}
    authority = (out / "authority/ca.pem").read_bytes()
    certs.make(out, days=3)
    assert (out / "authority/ca.pem").read_bytes() == authority
    assert not [name for name in IDENTITIES if leaf(out, name).serial_number == before[name]]
    left = leaf(out, "redeem").not_valid_after_utc - datetime.now(UTC)
    assert 2.9 * DAY < left < 3.1 * DAY


def test_hosts_are_in_the_leaves_and_stay_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tls"
    assert command("--out", str(out), "--host", "10.1.2.3", "--host", "mesh-1.example") == 0
    assert command("--out", str(out)) == 0
    # A machine more does not end the others.
    assert command("--out", str(out), "--host", "10.1.2.4") == 0
    for name in IDENTITIES:
        assert {"10.1.2.3", "mesh-1.example", "10.1.2.4"} <= {*hosts_of(leaf(out, name))}
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*IDENTITIES, f"{leaf(out, 'redeem').not_valid_after_utc:%Y-%m-%d}"))


def test_only_the_control_planes_certificate_carries_the_names_by_which_channels_know_it(tmp_path: Path) -> None:
    certs.make(tmp_path / "tls", hosts=["10.1.2.3"])
    assert {name: mapped(tmp_path / "tls", name) for name in IDENTITIES if name != "control-plane"} == {
        name: set() for name in IDENTITIES if name != "control-plane"
    }
    assert mapped(tmp_path / "tls", "control-plane") == {"127.0.0.1", "10.1.2.3"}


def mapped(out: Path, name: str) -> set[str]:
    names = leaf(out, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (getattr(one, "ipv4_mapped", None) for one in names.get_values_for_type(x509.IPAddress))
    return {str(address) for address in addresses if address}


def test_a_rotation_lets_all_read_the_new_ca_before_it_signs_and_the_old_one_stays_trusted(out: Path) -> None:
    old = leaf(out, "redeem")
    seen: list[tuple[int, bool, bool]] = []

    def settle() -> None:
        seen.append((len(bundle(out, "audit")), leaf(out, "redeem") == old, are_all_accepted_by_all(out)))

    certs.make(out, is_rotation=True, settle=settle)
    assert seen == [(2, True, True)]
    assert leaf(out, "redeem").issuer != old.issuer
    assert are_all_accepted_by_all(out)
    assert is_accepted(old, bundle(out, "audit"))


def test_the_earlier_ca_is_dropped_in_a_second_step_after_its_last_leaf(out: Path) -> None:
    old = leaf(out, "redeem")
    certs.make(out, is_rotation=True, settle=settled)
    seen: list[bool] = []
    certs.make(out, is_retirement=True, settle=lambda: seen.append(are_all_accepted_by_all(out)))
    assert seen == [True]
    assert [len(bundle(out, name)) for name in IDENTITIES] == [1] * len(IDENTITIES)
    assert are_all_accepted_by_all(out)
    assert not is_accepted(old, bundle(out, "audit"))


def test_a_rotation_that_was_cut_short_is_finished_by_the_next_run(out: Path) -> None:
    def cut() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certs.make(out, is_rotation=True, settle=cut)
    assert are_all_accepted_by_all(out)
    certs.make(out, settle=settled)
    assert {leaf(out, name).issuer for name in IDENTITIES} == {bundle(out, "audit")[0].subject}
    assert are_all_accepted_by_all(out)


def test_two_rotations_in_a_row_break_no_trust(out: Path) -> None:
    first = leaf(out, "redeem")
    for _ in range(2):
        certs.make(out, is_rotation=True, settle=settled)
    assert is_accepted(first, bundle(out, "audit"))
    assert are_all_accepted_by_all(out)


def test_whoever_reads_while_leaves_are_replaced_never_sees_half_a_pair(out: Path) -> None:
    folder, ended = out / "redeem", threading.Event()

    def renew() -> None:
        for _ in range(10):
            certs.make(out)
        ended.set()

    writer = threading.Thread(target=renew)
    writer.start()
    serials = set()
    while not ended.is_set():
        serials.add(x509.load_pem_x509_certificate(identity.read(folder).cert).serial_number)
    writer.join()
    assert len(serials) > 1


def test_contents_that_nobody_can_be_reading_any_more_are_removed(out: Path) -> None:
    for _ in range(4):
        certs.make(out)
    assert len([*(out / "redeem").glob(".now-*")]) == 2


def foreign_key(out: Path) -> Path:
    (out / "redeem").mkdir(parents=True)
    (out / "redeem/key.pem").write_text("someone else's")
    return out / "redeem"


def foreign_file(out: Path) -> Path:
    certs.make(out)
    (out / "audit/notes.txt").write_text("someone else's")
    return out / "audit"


def other_ca(out: Path) -> Path:
    certs.make(out)
    shutil.rmtree(out / "authority")
    certs.make(out.with_name("other"))
    shutil.copytree(out.with_name("other") / "authority", out / "authority", symlinks=True)
    return out / "entry"


def lost_ca(out: Path) -> Path:
    certs.make(out)
    shutil.rmtree(out / "authority")
    return out / "entry"


def broken_ca(out: Path) -> Path:
    certs.make(out)
    (out / "authority/key.pem").write_text("no key")
    return out / "authority"


def replaced_file(out: Path) -> Path:
    certs.make(out)
    pair = out / "share/cert.pem"
    content = pair.read_bytes()
    pair.unlink()
    pair.write_bytes(content)
    return out / "share"


@pytest.mark.parametrize("arrange", [foreign_key, foreign_file, other_ca, lost_ca, broken_ca, replaced_file])
def test_files_that_are_not_its_own_are_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrange: Callable[[Path], Path]
) -> None:
    out = tmp_path / "tls"
    named = arrange(out)
    before = contents(out)
    for step in ((), ("--rotate",), ("--retire",)):
        assert command("--out", str(out), *step) == 2
        said = capsys.readouterr().err
        assert str(named) in said
        assert said.count("\n") == 1
    assert contents(out) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert command("--out", str(tmp_path / "file/tls")) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--days", "0"), ("--days", "x"), ("--host", "a b"), ("--rotate", "--retire")])
def test_impossible_flags_are_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        command("--out", str(tmp_path / "tls"), *flags)
    assert not (tmp_path / "tls").exists()


def test_a_certificate_ends_with_its_ca_at_the_latest() -> None:
    authority, now = Authority.new(), datetime.now(UTC)
    certificate, _ = authority.issue("redeem", [], now, now + 10_000 * DAY)
    made = x509.load_pem_x509_certificate(certificate)
    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc
