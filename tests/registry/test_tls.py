"""Who may call whom over mutual TLS, and what becomes of certificates that are bad or about to be."""

import asyncio
import logging
import shutil
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from registry import certs, identity, tls
from registry.authority import Authority
from registry.identity import BadCertificate
from tests.registry.mutual import called, refused, serving, shown_by

DAY = timedelta(days=1)
CA = Authority.new()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tls") / "tls"
    certs.make(out)
    return out


@pytest.fixture
def mesh(original: Path, tmp_path: Path) -> Path:
    """The certificates of a mesh, which the test may change."""
    return shutil.copytree(original, tmp_path / "tls", symlinks=True)


def opened(port: int, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials)


def given(folder: Path, begin: datetime, end: datetime, authority: Authority = CA) -> Path:
    """Plain files of an identity, as an operator may put them there, valid for that time."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = authority.issue("redeem", [], begin, end)
    for name, content in (("ca.pem", authority.bundle()), ("cert.pem", cert), ("key.pem", key)):
        (folder / name).write_bytes(content)
    return folder


def lasting(folder: Path) -> Path:
    now = datetime.now(UTC)
    return given(folder, now, now + DAY)


@pytest.mark.parametrize("who", ["client", "entry", "gateway"])
def test_an_identity_of_the_mesh_may_call_and_the_server_knows_which_it_is(mesh: Path, who: str) -> None:
    async def story() -> None:
        async with serving(mesh / "redeem") as port, opened(port, tls.channel_credentials(mesh / who)) as channel:
            assert await called(channel) == who

    asyncio.run(story())


def test_whoever_shows_no_certificate_is_refused(mesh: Path) -> None:
    async def story() -> None:
        trusting = grpc.ssl_channel_credentials((mesh / "client/ca.pem").read_bytes())
        async with serving(mesh / "redeem") as port:
            async with opened(port, trusting) as channel:
                await refused(channel)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await refused(channel)

    asyncio.run(story())


def test_whoever_shows_a_certificate_of_another_ca_is_refused(mesh: Path, tmp_path: Path) -> None:
    async def story() -> None:
        other = lasting(tmp_path / "other")
        # He trusts us, so that it is the server who refuses.
        (other / "ca.pem").write_bytes((mesh / "client/ca.pem").read_bytes())
        async with serving(mesh / "redeem") as port, opened(port, tls.channel_credentials(other)) as channel:
            await refused(channel)

    asyncio.run(story())


def test_a_server_of_another_ca_is_refused(mesh: Path, tmp_path: Path) -> None:
    async def story() -> None:
        other = lasting(tmp_path / "other")
        # He trusts us, so that it is the caller who refuses.
        (other / "ca.pem").write_bytes((mesh / "client/ca.pem").read_bytes())
        async with serving(other) as port, opened(port, tls.channel_credentials(mesh / "client")) as channel:
            assert "CERTIFICATE_VERIFY_FAILED" in await refused(channel)

    asyncio.run(story())


def test_a_callers_name_is_of_this_mesh_or_it_is_none() -> None:
    assert tls.caller({"peer_spiffe_id": [b"spiffe://sharemesh/gateway"]}) == "gateway"
    assert tls.caller({"peer_spiffe_id": [b"spiffe://elsewhere/gateway"]}) == ""
    assert tls.caller({"x509_common_name": [b"gateway"]}) == ""


def test_a_server_that_runs_takes_new_files_for_new_connections(mesh: Path) -> None:
    async def story() -> None:
        async with serving(mesh / "redeem") as port:
            before = await shown_by(port, mesh / "client")
            certs.make(mesh)
            assert await shown_by(port, mesh / "client") != before

    asyncio.run(story())


def spoil_pair(folder: Path) -> None:
    (folder / "key.pem").write_bytes(CA.issue("redeem", [], datetime.now(UTC), datetime.now(UTC) + DAY)[1])


def remove_key(folder: Path) -> None:
    (folder / "key.pem").unlink()


def cut_certificate(folder: Path) -> None:
    (folder / "cert.pem").write_bytes((folder / "cert.pem").read_bytes()[:200])


def empty_ca(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(b"")


def let_expire(folder: Path) -> None:
    now = datetime.now(UTC)
    given(folder, now - 2 * DAY, now - DAY)


BAD: list[tuple[Callable[[Path], None], str, str]] = [
    (spoil_pair, "key.pem", "is not the key of cert.pem"),
    (remove_key, "key.pem", "No such file"),
    (cut_certificate, "cert.pem", "holds no certificates"),
    (empty_ca, "ca.pem", "holds no certificates"),
    (let_expire, "cert.pem", "expired at"),
]


@pytest.mark.parametrize(("spoil", "file", "words"), BAD)
def test_bad_files_end_the_start_with_their_name_and_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None], file: str, words: str
) -> None:
    folder = lasting(tmp_path / "redeem")
    spoil(folder)
    for use in (tls.server_credentials, tls.channel_credentials):
        with pytest.raises(BadCertificate) as caught:
            use(folder)
        message = str(caught.value)
        assert str(folder / file) in message
        assert words in message
        assert "sharemesh certs" in message
        assert "\n" not in message
        assert identity.warning(folder) == message


@pytest.mark.parametrize(("spoil", "file", "words"), BAD)
def test_a_server_that_runs_goes_on_with_the_last_good_files_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], file: str, words: str
) -> None:
    folder, client = lasting(tmp_path / "redeem"), lasting(tmp_path / "client")

    async def story() -> None:
        async with serving(folder) as port:
            good = await shown_by(port, client)
            spoil(folder)
            assert [await shown_by(port, client) for _ in range(3)] == [good] * 3
            lasting(folder)
            assert await shown_by(port, client) != good

    with caplog.at_level(logging.WARNING, "sharemesh.registry"):
        asyncio.run(story())
    said = [str(record.args) for record in caplog.records if record.msg == "certificate_not_taken"]
    assert len(said) == 1
    assert file in said[0]
    assert words in said[0]


def test_a_server_that_runs_takes_a_certificate_once_its_time_has_come(tmp_path: Path) -> None:
    folder, client = lasting(tmp_path / "redeem"), lasting(tmp_path / "client")

    async def story() -> None:
        async with serving(folder) as port:
            good = await shown_by(port, client)
            # The CA allows for clocks that differ by five minutes.
            begin = datetime.now(UTC) + timedelta(minutes=5, seconds=3)
            given(folder, begin, begin + DAY)
            assert await shown_by(port, client) == good
            end = datetime.now(UTC) + timedelta(seconds=20)
            shown = good
            while shown == good:
                assert datetime.now(UTC) < end
                await asyncio.sleep(0.1)
                # OpenSSL's clock is the kernel's coarse one, a tick behind the server's.
                with suppress(ssl.SSLCertVerificationError):
                    shown = await shown_by(port, client)

    asyncio.run(story())


def test_a_certificate_of_tomorrow_points_at_the_clock(tmp_path: Path) -> None:
    folder = given(tmp_path / "redeem", datetime.now(UTC) + DAY, datetime.now(UTC) + 2 * DAY)
    with pytest.raises(BadCertificate, match="clock"):
        tls.server_credentials(folder)


@pytest.mark.parametrize(("days_on", "words"), [(0, ""), (59, ""), (61, "expires at"), (91, "expired at")])
def test_one_is_warned_when_less_than_a_third_of_a_certificates_life_is_left(
    mesh: Path, days_on: int, words: str
) -> None:
    said = identity.warning(mesh / "redeem", datetime.now(UTC) + days_on * DAY)
    assert bool(said) == bool(words)
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("plain", "mutual"),
    [
        ("dns:///127.0.0.1:18000", "ipv6:[::ffff:127.0.0.1]:18000"),
        ("dns:///[::1]:18000", "ipv6:[::1]:18000"),
        ("dns:///plane.example:18000", "dns:///plane.example:18000"),
        ("ipv4:127.0.0.1:1,10.0.0.2:2", "ipv6:[::ffff:127.0.0.1]:1,[::ffff:10.0.0.2]:2"),
        ("ipv6:[::1]:1,[fd00::2]:2", "ipv6:[::1]:1,[fd00::2]:2"),
    ],
)
def test_the_control_planes_are_addressed_so_that_grpc_can_check_whom_it_reached(plain: str, mutual: str) -> None:
    assert tls.server_uri(plain) == mutual
