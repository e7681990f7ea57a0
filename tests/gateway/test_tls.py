"""TLS at the edge, and mutual TLS behind it."""

import datetime
import http.client
import ssl
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local import mariadb
from local.mesh import Mesh
from sharemesh.v1 import redeem_pb2, redeem_pb2_grpc
from tests.gateway.doors import SECONDS, Door, ask, opened
from tests.mesh import poll


def made(folder: Path, serial: int) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, with this serial number, and its key; each put there at once."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    contents = {
        "key.pem": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        "cert.pem": certificate.public_bytes(pem),
    }
    for file, content in contents.items():
        new = folder / f"{file}.new"
        new.write_bytes(content)
        new.replace(folder / file)
    return folder / "cert.pem", folder / "key.pem"


def shown(door: Door, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> int:
    """The serial number of the certificate that apps see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if newest < ssl.TLSVersion.TLSv1_2:
        # Else it would be this side that refuses.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = newest
    context.maximum_version = newest
    connection = http.client.HTTPSConnection(door.host, door.port, timeout=SECONDS, context=context)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    der = connection.sock.getpeercert(binary_form=True)
    connection.close()
    assert isinstance(der, bytes)
    return x509.load_der_x509_certificate(der).serial_number


def test_apps_come_in_by_tls_and_a_new_certificate_is_shown_without_a_restart(mesh: Mesh, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    certificate, key = made(folder, 1)
    flags = ("--certificate", str(certificate), "--key", str(key))
    with opened(mesh, tmp_path / "door", *flags) as door:
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(door.address, credentials, options) as channel:
            stub = redeem_pb2_grpc.RedeemServiceStub(channel)
            stub.ListOffers(redeem_pb2.ListOffersRequest(), timeout=SECONDS)
            assert shown(door) == 1
            made(folder, 2)
            poll(lambda: shown(door) == 2)
            stub.ListOffers(redeem_pb2.ListOffersRequest(), timeout=SECONDS)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"), pytest.warns(match="deprecated"):
            shown(door, ssl.TLSVersion.TLSv1_1)


def test_control_planes_and_services_are_reached_by_mutual_tls(maria: mariadb.Server, tmp_path: Path) -> None:
    url = maria.fresh("gateway_tls")
    with (
        Mesh(tmp_path / "mesh", planes=1, gateway=False, tls=True, database=url) as mesh,
        opened(mesh, tmp_path / "door") as door,
    ):
        assert ask(door, "GET", "/v1/offers").status == 200
        assert "own.json" in {file.name for file in (door.folder / "secrets").iterdir()}
