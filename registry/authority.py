"""A development CA: signs the certificates of the mesh's identities."""

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry.identity import CONTROL_PLANE, spiffe
from registry.tls import is_address

# Ten years: a development CA ends by rotation.
DAYS = 3650
# Every machine may call its own processes so.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What else an identity is called: Consul's agents look for this name in each other's certificates.
_ALIASES = {"consul": ("server.dc1.consul",)}
# Clocks differ between machines; a certificate is valid on all of them at once.
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """The CA that signs, with the certificates of earlier ones that are still trusted."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    earlier: tuple[x509.Certificate, ...] = ()

    @classmethod
    def new(cls, earlier: Iterable[x509.Certificate] = ()) -> Self:
        """A CA with a key of its own, valid for DAYS from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        # A name of its own tells it from the earlier ones.
        name = _name(f"CA {secrets.token_hex(4)}")
        builder = (
            _unsigned(name, name, key, now - _SKEW, now + timedelta(days=DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_ca=True), critical=True)
        )
        return cls(builder.sign(key, SHA256()), key, tuple(earlier))

    @classmethod
    def of_pem(cls, bundle: bytes, key: bytes) -> Self:
        """The CA that was written as bundle() and key_pem(); ValueError if that cannot be."""
        private = load_pem_private_key(key, None)
        first, *earlier = x509.load_pem_x509_certificates(bundle)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != first.public_key():
            raise ValueError("the key is not that of the first certificate")
        return cls(first, private, tuple(earlier))

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """All CAs whose certificates are accepted, the signing one first."""
        return self.certificate, *self.earlier

    def bundle(self) -> bytes:
        """The trusted CAs in PEM."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.trusted)

    def key_pem(self) -> bytes:
        """The key in PEM, without a password."""
        return _pem(self.key)

    def issue(self, identity: str, hosts: Iterable[str], begin: datetime, end: datetime) -> tuple[bytes, bytes]:
        """A certificate of the identity and its key in PEM, for servers and clients (an X509-SVID of SPIFFE).

        It also names the loopback host, and `hosts`: names and IP addresses. It ends with the CA at the latest.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        # One that outlived its CA would be refused earlier than it says.
        end = min(end, self.certificate.not_valid_after_utc)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            _unsigned(_name(identity), self.certificate.subject, key, begin - _SKEW, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(identity, hosts)), critical=False)
            .add_extension(issuer, critical=False)
        )
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM), _pem(key)


def hosts_of(leaf: x509.Certificate) -> list[str]:
    """The names and addresses of hosts in a certificate."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (address for address in names.get_values_for_type(x509.IPAddress) if not _is_mapped(address))
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _names(identity: str, hosts: Iterable[str]) -> list[x509.GeneralName]:
    every = [*dict.fromkeys((*_LOOPBACK, *_ALIASES.get(identity, ()), *hosts))]
    addresses = [ipaddress.ip_address(host) for host in every if is_address(host)]
    if identity == CONTROL_PLANE:
        # Where gRPC looks for the control planes: tls.server_uri says why.
        addresses += [ipaddress.ip_address(f"::ffff:{address}") for address in addresses if address.version == 4]
    return [
        x509.UniformResourceIdentifier(spiffe(identity)),
        *(x509.DNSName(host) for host in every if not is_address(host)),
        *map(x509.IPAddress, addresses),
    ]


def _is_mapped(address: object) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sharemesh")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
