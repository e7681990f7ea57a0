"""Encrypts the way to Zabbix by a key that both sides were given (PSK); the one module that knows python-mbedtls."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.delivery.tls import BadHandshake, Stream

if TYPE_CHECKING:
    from mbedtls.tls import TLSWrappedBuffer

# What Zabbix takes, in bytes.
_SHORTEST, _LONGEST = 16, 256
# What goes into one record of TLS.
_RECORD = 16384


@dataclass(frozen=True)
class Psk:
    """A key and the name that Zabbix knows it by; `file` has it in hexadecimal, as Zabbix's own programs want it."""

    identity: str
    file: Path

    def wrap(self, plain: socket.socket) -> Stream:
        """See Tls."""
        try:
            key = bytes.fromhex(self.file.read_text())
        except (OSError, ValueError) as error:
            raise BadHandshake(f"{self.file} has no key ({error}): make one by `openssl rand -hex 32`") from error
        if not _SHORTEST <= len(key) <= _LONGEST:
            raise BadHandshake(f"the key in {self.file} has {len(key)} bytes: Zabbix takes {_SHORTEST} to {_LONGEST}")
        try:
            return _Encrypted(plain, self.identity, key)
        except ImportError as error:
            raise BadHandshake("PSK needs another package: pip install 'sharemesh[psk]'") from error


class _Ended(ConnectionError):
    """The other side has closed the connection."""


class _Encrypted:
    """A socket and mbedtls between us and its bytes; mbedtls's own socket loses records that come in parts."""

    def __init__(self, plain: socket.socket, identity: str, key: bytes) -> None:
        from mbedtls import exceptions, tls  # Python's own ssl has PSK from 3.13; until then it is an extra.

        self._plain = plain
        self._error, self._wants_read, self._wants_write = exceptions.TLSError, tls.WantReadError, tls.WantWriteError
        configuration = tls.TLSConfiguration(
            # There is none: by these ciphers each side proves that it has the key. By any other, a stranger's
            # certificate would do.
            validate_certificates=False,
            ciphers=tuple(name for name in map(str, tls.ciphers_available()) if _is_by_key(name)),
            pre_shared_key=(identity, key),
            lowest_supported_version=tls.TLSVersion.TLSv1_2,
        )
        self._buffer: TLSWrappedBuffer = tls.ClientContext(configuration).wrap_buffers(None)
        try:
            self._shake_hands(tls.HandshakeStep.HANDSHAKE_OVER)
        except (exceptions.TLSError, ConnectionError) as error:
            what = f"it does not take the PSK {identity!r} ({error})"
            raise BadHandshake(f"{what}: check key and name here and at this host in Zabbix") from error

    def settimeout(self, value: float, /) -> None:
        self._plain.settimeout(value)

    def sendall(self, data: bytes, /) -> None:
        for begin in range(0, len(data), _RECORD // 2):
            part = data[begin : begin + _RECORD // 2]
            self._buffer.write(part)
            self._flush()

    def recv(self, size: int, /) -> bytes:
        try:
            while not (part := self._read(size)):
                self._hear()
        except _Ended:
            return b""
        except self._error as error:
            raise ConnectionAbortedError(str(error)) from error
        return part

    def close(self) -> None:
        self._plain.close()

    def _shake_hands(self, over: object) -> None:
        while self._buffer._handshake_state is not over:
            try:
                self._buffer.do_handshake()
            except self._wants_read:
                self._flush()
                self._hear()
            except self._wants_write:
                pass
            self._flush()

    def _read(self, size: int) -> bytes:
        """Nothing, if more has to be heard first."""
        try:
            return self._buffer.read(size)
        except self._wants_read:
            return b""

    def _hear(self) -> None:
        received = self._plain.recv(_RECORD)
        if not received:
            raise _Ended("it closed the connection")
        self._buffer.receive_from_network(received)

    def _flush(self) -> None:
        while waiting := self._buffer.peek_outgoing(_RECORD):
            self._plain.sendall(waiting)
            self._buffer.consume_outgoing(len(waiting))


def _is_by_key(cipher: str) -> bool:
    exchange, _, rest = cipher.partition("-WITH-")
    return exchange in ("TLS-ECDHE-PSK", "TLS-DHE-PSK", "TLS-PSK") and rest.startswith(("AES", "CHACHA20"))
