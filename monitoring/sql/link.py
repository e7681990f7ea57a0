"""One kept connection to a MariaDB or MySQL server that may be away, hang or be started again."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.cursors import Cursor, DictCursor

from monitoring.sql.location import Address, Servers
from registry.config import joined

# A server that is well answers in milliseconds. One that does not in this time is as good as away, and a beat may be no
# longer.
LIMIT_SECONDS = 1.0
# A server that takes connections and then says nothing counts each that we give up, when it comes to itself, as an
# error of this machine's, and may shut out a machine with a hundred in a row (max_connect_errors), services and all. So
# it is tried more and more seldom, up to this.
_LONGEST_PAUSE = 10.0
# MariaDB's, MySQL's, and that the statement was killed.
_TIME_IS_UP = (1969, 3024, 1317)


class Unreadable(Exception):
    """A question has no answer; the message says why, without the password."""


class Away(Unreadable):
    """The server cannot be asked; the message says where and why."""


class Refused(Unreadable):
    """One statement failed, and the connection did not."""


class TookTooLong(Refused):
    """A statement was given up because it took longer than it may."""


class Link:
    """The connection to the only server, or to the first that answers of several.

    `greet` makes a new session ours; it raises OSError if the server is none to ask. Rows are what `cursor` makes of
    them. An answer may take `answer_seconds`.
    """

    def __init__(
        self,
        servers: Servers,
        cursor: type[Cursor] = DictCursor,
        answer_seconds: float = LIMIT_SECONDS,
        greet: "Callable[[pymysql.connections.Connection[Any]], None]" = lambda session: None,
    ) -> None:
        self._servers, self._cursor, self._answer_seconds, self._greet = servers, cursor, answer_seconds, greet
        self._at = 0
        self._connection: pymysql.connections.Connection[Any] | None = None
        # Until when a server that hangs is left alone, how long that is, and what it is away for.
        self._asked_from = self._pause = 0.0
        self._complaint = ""

    @property
    def is_open(self) -> bool:
        """Whether there is one, as far as anybody knows."""
        return self._connection is not None

    @property
    def is_first(self) -> bool:
        """Whether it goes to the server that is preferred to all others."""
        return self._at == 0

    @property
    def address(self) -> str:
        """The server that it goes to."""
        return joined(*self._servers.addresses[self._at])

    @property
    def addresses(self) -> str:
        """All of them."""
        return ",".join(joined(*address) for address in self._servers.addresses)

    def open(self) -> bool:
        """Connects to the first that answers of those that are preferred to the present one; returns whether one did.

        Raises Away if there is no connection afterwards; at once, if it is too soon to try a server again that hangs.
        """
        begin = time.monotonic()
        if not self.is_open and begin < self._asked_from:
            raise Away(self._complaint)
        complaints = []
        addresses = self._servers.addresses
        for at, address in enumerate(addresses[: self._at] if self.is_open else addresses):
            try:
                connection = self._connect(address)
            except Exception as error:  # noqa: BLE001 -- as in rows(); it is told if no other answers
                complaints.append(f"{joined(*address)}: {_words(error)}")
                continue
            self.close()
            self._connection, self._at, self._pause = connection, at, 0.0
            return True
        if self.is_open:
            return False
        self._complaint = "; ".join(complaints)
        end = time.monotonic()
        if end - begin > LIMIT_SECONDS / 2:
            self._pause = min(2 * self._pause or LIMIT_SECONDS, _LONGEST_PAUSE)
            self._asked_from = end + self._pause
        raise Away(self._complaint)

    def rows(self, statement: str, parameters: Sequence[Any] | None = None) -> list[Any]:
        """What a statement returns; with parameters, it has a %s for each and %% for a percent sign.

        Raises Refused, or Away, after which there is no connection.
        """
        if self._connection is None:
            raise Away(f"{self.address}: there is no connection")
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())
        except Exception as error:
            complaint = f"{self.address}: {_words(error)}"
            # PyMySQL raises whatever the bytes of something that is no server lead it to.
            if isinstance(error, pymysql.err.MySQLError) and self._connection.open:
                if error.args and error.args[0] in _TIME_IS_UP:
                    raise TookTooLong(complaint) from error
                raise Refused(complaint) from error
            self.close()
            raise Away(complaint) from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # It says goodbye to a server that may be gone.
                connection.close()

    def _connect(self, address: Address) -> "pymysql.connections.Connection[Any]":
        host, port = address
        connection = pymysql.connections.Connection(
            host=host,
            port=port,
            user=self._servers.user,
            password=self._servers.password,
            database=self._servers.name,
            charset="utf8mb4",
            collation="utf8mb4_bin",
            cursorclass=self._cursor,
            autocommit=True,
            program_name="sharemesh sidecar",
            # Hosts that have no power answer nothing: all of them together take no longer than one.
            connect_timeout=LIMIT_SECONDS / len(self._servers.addresses),
            read_timeout=self._answer_seconds,
            write_timeout=self._answer_seconds,
        )
        try:
            self._greet(connection)
        except Exception:
            connection.close()
            raise
        return connection


def _words(error: Exception) -> str:
    text = str(error.args[-1]) if isinstance(error, pymysql.err.MySQLError) and error.args else str(error)
    return text or type(error).__name__
