"""Values reach a real Zabbix, and whatever else may stand at its address is one exception with advice."""

import secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from zabbix_utils import ZabbixAPI

from local import ports, zabbix
from local.zabbix import Stack
from monitoring.delivery.psk import Psk
from monitoring.delivery.tls import Certificate, Tls
from monitoring.zabbix import PACKET, Outcome, Sample, Sender, ZabbixAway
from registry.authority import Authority
from tests.monitoring import strangers, trapped
from tests.monitoring.strangers import Manner
from tests.monitoring.trapped import BY_CERTIFICATE, BY_PSK, Host

# Zabbix keeps nothing that is older than its items' history is long.
NOW = int(time.time()) - 600
SAMPLES = [Sample("nobody", f"key[{number}]", "1.5", NOW, 0) for number in range(3)]
# Short, where it is to run out.
TIMEOUT = 0.5


@pytest.fixture(scope="module")
def host(stack: Stack, api: ZabbixAPI) -> Host:
    return trapped.made(api, ("one", "two")).await_taken(stack)


@pytest.fixture
def sender(stack: Stack) -> Sender:
    return Sender([("127.0.0.1", stack.port)])


def test_a_value_is_stored_with_its_second_and_nanosecond(sender: Sender, host: Host) -> None:
    assert sender.send([Sample(host.name, "one", "1.5", NOW, 7)]) == Outcome(1, 0)
    trapped.until(lambda: (NOW, 7, "1.5") in host.stored("one"), "the value is stored")


def test_what_is_sent_twice_is_stored_once_even_later_and_with_other_values(sender: Sender, host: Host) -> None:
    value, other = Sample(host.name, "two", "1", NOW, 0), Sample(host.name, "two", "3", NOW + 2, 0)
    sender.send([value, value])
    trapped.until(lambda: (NOW, 0, "1") in host.stored("two"), "the value is stored")
    assert sender.send([value, value._replace(value="2"), value._replace(ns=1), other]) == Outcome(4, 0)
    trapped.until(lambda: (NOW + 2, 0, "3") in host.stored("two"), "the last value is stored")
    assert host.stored("two") == [(NOW, 0, "1"), (NOW, 1, "1"), (NOW + 2, 0, "3")]


def test_what_zabbix_does_not_know_is_counted_as_refused(sender: Sender, host: Host) -> None:
    unknown = [Sample(host.name, "three", "1", NOW, 0), Sample("nobody", "one", "1", NOW, 0)]
    assert sender.send([Sample(host.name, "one", "2", NOW + 1, 0), *unknown]) == Outcome(1, 2)


def test_many_values_go_in_several_packets(sender: Sender) -> None:
    assert sender.send(SAMPLES * PACKET) == Outcome(0, 3 * PACKET)


def test_the_servers_are_tried_in_turn_from_the_one_that_answered_last(stack: Stack) -> None:
    with strangers.listening(strangers.mute) as mute:
        nobody = ports.free_one()
        sender = Sender([("127.0.0.1", nobody), ("127.0.0.1", mute), ("127.0.0.1", stack.port)], timeout=TIMEOUT)
        sender.send(SAMPLES)
        begin = time.monotonic()
        sender.send(SAMPLES)
        assert time.monotonic() - begin < TIMEOUT


def test_a_server_by_ipv6_and_an_answer_in_pieces_are_understood() -> None:
    with strangers.listening(strangers.in_pieces, "::1") as port:
        assert Sender([("::1", port)]).send(SAMPLES) == Outcome(3, 0)


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        (strangers.mute, "gave no answer within 0.5 s: look"),
        (strangers.trickling, "gave no answer within 0.5 s: look"),
        (strangers.closing, "closed the connection without an answer: look at its log"),
        (strangers.answering(strangers.packet(b"{}")[:-1]), "closed the connection without an answer"),
        (strangers.answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not answer as a Zabbix server does"),
        (strangers.answering(b"ZBXD\x01" + b"\xff" * 8), "does not answer as a Zabbix server does"),
        (strangers.answering(strangers.packet(b"\xff\xfe")), "does not answer as a Zabbix server does"),
        (strangers.answering(strangers.packet(b"[]")), "does not answer as a Zabbix server does"),
        (strangers.saying(response="success"), "does not answer as a Zabbix server does"),
        (strangers.saying(response="success", info="all is well"), "does not answer as a Zabbix server does"),
        (strangers.saying(response="failed", info="no such thing"), "no such thing"),
    ],
)
def test_whatever_a_server_does_is_one_exception_with_its_address(
    manner: Manner, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with strangers.listening(manner) as port, pytest.raises(ZabbixAway) as raised:
        Sender([("127.0.0.1", port)], timeout=TIMEOUT).send(SAMPLES)
    assert f"127.0.0.1:{port} " in str(raised.value)
    assert said in str(raised.value)
    # py-zabbix would say something each time; whoever catches it says it once.
    assert not caplog.records


def test_no_server_at_all_is_told_of_each_address() -> None:
    port = ports.free_one()
    with pytest.raises(ZabbixAway, match=rf"127.0.0.1:{port} takes no connections: .*; nowhere.invalid:1 is not known"):
        Sender([("127.0.0.1", port), ("nowhere.invalid", 1)]).send(SAMPLES)


class Sealed:
    """A Zabbix with TLS, the folder of a sidecar's certificate and the CA of both."""

    def __init__(self, stack: Stack, folder: Path, ca: Authority) -> None:
        self.stack, self.folder, self.ca = stack, folder, ca
        self.certificate = Certificate.of(folder)
        self.key = folder / "psk"
        self.key.write_text(secrets.token_hex(32) + "\n")

    def send(self, host: Host, tls: Tls | None) -> Outcome:
        """Sends a value to the host over it."""
        return Sender([("127.0.0.1", self.stack.port)], tls).send([Sample(host.name, "one", "1", NOW, 0)])

    def await_taken(self, host: Host, tls: Tls) -> None:
        """Returns as soon as the host takes values so."""
        trapped.until(lambda: self.send(host, tls) == Outcome(1, 0), "the host is known to the server")


def issue(ca: Authority, folder: Path, days: float = 1) -> Path:
    """Writes ca.pem and a new cert.pem and key.pem into the folder."""
    now = datetime.now(UTC)
    # One that has ended began before it did.
    cert, key = ca.issue("sidecar", [], now - timedelta(days=2), now + timedelta(days=days))
    folder.mkdir(exist_ok=True)
    for name, content in (("ca.pem", ca.bundle()), ("cert.pem", cert), ("key.pem", key)):
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder, ca = tmp_path_factory.mktemp("sealed"), Authority.new()
    stack = zabbix.start(folder / "zabbix", tls=issue(ca, folder / "server"))
    yield Sealed(stack, issue(ca, folder / "own"), ca)
    stack.stop()


@pytest.fixture(scope="module")
def by_certificate(sealed: Sealed) -> Host:
    host = trapped.made(sealed.stack.api(), ["one"], tls_accept=BY_CERTIFICATE)
    sealed.await_taken(host, sealed.certificate)
    return host


def test_a_host_takes_values_by_certificate_alone(sealed: Sealed, by_certificate: Host) -> None:
    assert sealed.send(by_certificate, replace(sealed.certificate, name="localhost")) == Outcome(1, 0)
    assert sealed.send(by_certificate, None) == Outcome(0, 1)


def test_certificates_that_are_not_trusted_are_told_with_advice(
    sealed: Sealed, by_certificate: Host, tmp_path: Path
) -> None:
    own = sealed.certificate
    strange = Certificate.of(issue(Authority.new(), tmp_path / "strange"))
    expired = Certificate.of(issue(sealed.ca, tmp_path / "expired", days=-1))
    (tmp_path / "none").write_text("")
    for tls, said in (
        (replace(own, ca=strange.ca), "its certificate is not trusted .*: check it, and the CA and name given here"),
        (replace(own, name="zabbix.example"), "its certificate is not trusted .*zabbix.example.*: check it"),
        (replace(own, cert=strange.cert, key=strange.key), "our certificate"),
        (replace(own, cert=expired.cert, key=expired.key), "our certificate"),
        (replace(own, key=strange.key), "cannot be used .*: give PEM files that fit together"),
        (replace(own, ca=tmp_path / "none"), "cannot be used .*: give PEM files that fit together"),
        (replace(own, cert=tmp_path / "missing"), "cannot be used .*: give PEM files that fit together"),
    ):
        with pytest.raises(ZabbixAway, match=said):
            sealed.send(by_certificate, tls)


def test_a_servers_certificate_that_has_expired_is_not_trusted(sealed: Sealed, tmp_path: Path) -> None:
    expired = issue(sealed.ca, tmp_path / "expired", days=-1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(expired / "cert.pem", expired / "key.pem")
    with (
        strangers.listening(strangers.by_certificate(context)) as port,
        pytest.raises(ZabbixAway, match=r"its certificate is not trusted .*expired"),
    ):
        Sender([("127.0.0.1", port)], sealed.certificate).send(SAMPLES)


def test_a_server_without_tls_and_a_mute_one_are_told_as_such(stack: Stack, sealed: Sealed) -> None:
    psk = Psk("somebody", sealed.key)
    for tls in (sealed.certificate, psk):
        with pytest.raises(ZabbixAway, match=rf"127.0.0.1:{stack.port} .*: (look at its log|check)"):
            Sender([("127.0.0.1", stack.port)], tls).send(SAMPLES)
        with (
            strangers.listening(strangers.mute) as port,
            pytest.raises(ZabbixAway, match="gave no answer within"),
        ):
            Sender([("127.0.0.1", port)], tls, timeout=TIMEOUT).send(SAMPLES)


def test_a_host_takes_values_by_psk_alone_and_by_the_right_one(sealed: Sealed, tmp_path: Path) -> None:
    psk = Psk(f"sidecar {secrets.token_hex(4)}", sealed.key)
    given = {"tls_psk_identity": psk.identity, "tls_psk": sealed.key.read_text().strip()}
    host = trapped.made(sealed.stack.api(), ["one"], tls_accept=BY_PSK, **given)
    # Not known yet, which makes the handshake fail.
    trapped.until(lambda: _is_taken(sealed, host, psk), "the host is known to the server")
    many = [Sample(host.name, "one", "x" * 300, NOW, 0)] * PACKET
    assert Sender([("127.0.0.1", sealed.stack.port)], psk).send(many) == Outcome(PACKET, 0)
    assert sealed.send(host, None) == Outcome(0, 1)
    assert sealed.send(host, sealed.certificate) == Outcome(0, 1)
    other, short, none = tmp_path / "other", tmp_path / "short", tmp_path / "none"
    other.write_text(secrets.token_hex(32))
    short.write_text(secrets.token_hex(8))
    for tls, said in (
        (replace(psk, file=other), f"does not take the PSK '{psk.identity}' .*: check key and name"),
        (replace(psk, identity="somebody"), "does not take the PSK 'somebody' .*: check key and name"),
        (replace(psk, file=short), "has 8 bytes: Zabbix takes 16 to 256"),
        (replace(psk, file=none), "has no key .*: make one by"),
    ):
        with pytest.raises(ZabbixAway, match=said):
            sealed.send(host, tls)


def _is_taken(sealed: Sealed, host: Host, tls: Tls) -> bool:
    try:
        return sealed.send(host, tls) == Outcome(1, 0)
    except ZabbixAway:
        return False


def test_who_has_a_certificate_but_not_the_key_is_not_spoken_to(sealed: Sealed) -> None:
    own = sealed.certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.cert, own.key)
    with (
        strangers.listening(strangers.by_certificate(context)) as port,
        pytest.raises(ZabbixAway, match="does not take the PSK"),
    ):
        Sender([("127.0.0.1", port)], Psk("somebody", sealed.key)).send(SAMPLES)
