"""How a MariaDB or MySQL server does, asked over one kept connection so that it costs next to nothing."""

import logging
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from monitoring.readings import Rates, Readings, discovery, key
from monitoring.sql import galera, replication, statuses
from monitoring.sql.link import LIMIT_SECONDS, Away, Link, Refused
from monitoring.sql.location import Servers

_log = logging.getLogger("sharemesh.monitoring")

# What hardly changes, what costs more and what was refused is asked for so often.
SLOW_SECONDS = 60.0
# The sizes need a look at each table: on many of them they are rather not told than waited for.
_SIZES_SECONDS = 0.5
_SIZES = """table_schema AS name, SUM(data_length + COALESCE(index_length, 0)) AS size FROM information_schema.tables
 WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'sys') AND data_length IS NOT NULL
 GROUP BY table_schema"""
_VARIABLES = ("max_connections", "innodb_buffer_pool_size", *galera.VARIABLES)
# What MySQL counts elsewhere than MariaDB, by MariaDB's name.
_METRICS = {"lock_deadlocks": "Innodb_deadlocks", "trx_rseg_history_len": "Innodb_history_list_length"}
_METRICS_SQL = """SELECT name AS metric, count AS number FROM information_schema.innodb_metrics
 WHERE name IN ('lock_deadlocks', 'trx_rseg_history_len')"""
MARIADB, MYSQL = "mariadb", "mysql"


class Server:
    """One server, or the first that answers of several, to which it comes back within `slow_seconds`."""

    def __init__(self, servers: Servers, slow_seconds: float = SLOW_SECONDS) -> None:
        self._link = Link(servers)
        self._slow_seconds = slow_seconds
        self._complaints: set[str] = set()
        self._begin_anew(0)

    def _begin_anew(self, now: float) -> None:
        """Another server, or the same after a restart, counts from the beginning."""
        self._rates = Rates()
        self._kind = self._version = ""
        self._variables: dict[str, str] = {}
        self._begun, self._slow_at = now, 0.0
        self._sizes: Readings = {}
        # What is not asked until it is time again, and what was logged of that.
        self._refused: set[str] = set()
        self._refusals: set[str] = set()

    def read(self) -> Readings:
        """The figures; db.up is 0 if it cannot be asked. Never raises."""
        try:
            told = self._read(time.monotonic())
        except (Away, Refused) as error:
            self._link.close()
            # Each once as long as it is away: several hosts may complain in turns.
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                _log.warning("database_away", {"database": self._link.addresses, "error": str(error)})
            return {key("db.up"): 0}
        if self._complaints:
            self._complaints.clear()
            _log.warning("database_back", {"database": self._link.address})
        return told

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        self._link.close()

    def _read(self, begin: float) -> Readings:
        was_open = self._link.is_open
        try:
            return self._figures(begin)
        except Away:
            # A kept connection that was closed at once is that of a server which has been started again.
            if not was_open or time.monotonic() - begin > LIMIT_SECONDS / 2:
                raise
            return self._figures(time.monotonic())

    def _figures(self, now: float) -> Readings:
        is_slow = self._connect(now)
        told: Readings = {key("db.up"): 1, key("db.sqlite.discovery"): discovery(())}
        told |= self._clock()
        if is_slow:
            self._refused.clear()
            self._variables = self._texts("VARIABLES", _VARIABLES)
        status = self._texts("STATUS", (*statuses.NAMES, *galera.NAMES))
        if self._kind == MYSQL:
            rows = self._optional("deadlocks", _METRICS_SQL) or []
            status |= {_METRICS[row["metric"]]: str(row["number"]) for row in rows}
        told |= statuses.figures(status, self._variables, self._rates, now)
        told |= galera.figures(status, self._variables, self._rates, now)
        followed = self._optional("replication", self._replication_sql())
        if followed is not None:
            told |= replication.figures(followed)
        if is_slow:
            self._measure()
        return told | self._seldom(now, is_slow)

    def _connect(self, now: float) -> bool:
        """Sees to the connection, and returns whether it is time for what is asked for seldom."""
        is_slow = self._slow_at <= now
        # As seldom a server that was away is tried again.
        if (not self._link.is_open or (is_slow and not self._link.is_first)) and self._link.open():
            self._begin_anew(now)
            (row,) = self._link.rows("SELECT VERSION() AS version")
            self._version = str(row["version"])
            self._kind = MARIADB if "mariadb" in self._version.lower() else MYSQL
            is_slow = True
        if is_slow:
            self._slow_at = now + self._slow_seconds
        return is_slow

    def _clock(self) -> Readings:
        """How long the shortest question takes, and how far the server's clock is ahead of ours, in seconds."""
        before, begin = time.time(), time.monotonic()
        (row,) = self._link.rows("SELECT UTC_TIMESTAMP(6) AS now")
        latency = time.monotonic() - begin
        told: Readings = {key("db.latency"): latency}
        if isinstance(row["now"], datetime):
            its = row["now"].replace(tzinfo=UTC).timestamp()
            told[key("db.clock.offset")] = its - (before + latency / 2)
        return told

    def _texts(self, what: str, names: Sequence[str]) -> dict[str, str]:
        """Status or variables by name; all of them would be five times as much to read."""
        listed = "', '".join(names)
        rows = self._link.rows(f"SHOW GLOBAL {what} WHERE Variable_name IN ('{listed}')")
        return {row["Variable_name"]: str(row["Value"]) for row in rows}

    def _replication_sql(self) -> str:
        if self._kind == MARIADB:
            return replication.MARIADB
        numbers = tuple(int(number) for number in re.findall(r"\d+", self._version)[:3])
        return replication.MYSQL if numbers >= (8, 0, 22) else replication.MYSQL_BEFORE_8_0_22

    def _measure(self) -> None:
        """Asks for the sizes of all schemas that this user may see; those known last stand if that takes too long."""
        bounded = f"SET STATEMENT max_statement_time = {_SIZES_SECONDS} FOR SELECT {_SIZES}"
        if self._kind == MYSQL:
            bounded = f"SELECT /*+ MAX_EXECUTION_TIME({_SIZES_SECONDS * 1000:.0f}) */ {_SIZES}"
        rows = self._optional("sizes", bounded)
        if rows is not None:
            self._sizes = {key("db.schema.size", row["name"]): int(row["size"]) for row in rows}
            self._sizes[key("db.schema.discovery")] = discovery({"{#SCHEMA}": row["name"]} for row in rows)

    def _seldom(self, now: float, is_slow: bool) -> Readings:
        rule = key("db.schema.discovery")
        # What was discovered just now has no item yet to take the first value: in the beginning it is told again.
        if not is_slow and now >= self._begun + self._slow_seconds:
            return {rule: self._sizes[rule]} if rule in self._sizes else {}
        texts = {"kind": self._kind, "version": self._version, "server": self._link.address}
        return self._sizes | {key(f"db.{name}"): text for name, text in texts.items()}

    def _optional(self, what: str, statement: str) -> list[Any] | None:
        """None if the server refuses, which is logged; it is asked again when it is time."""
        if what in self._refused:
            return None
        try:
            return self._link.rows(statement)
        except Refused as error:
            self._refused.add(what)
            if what not in self._refusals:
                self._refusals.add(what)
                _log.warning("database_figure_refused", {"figure": what, "error": str(error)})
            return None
