"""What MariaDB's and MySQL's status variables mean: the figures of SHOW GLOBAL STATUS."""

from collections.abc import Mapping

from monitoring.figures import named, rates_of
from monitoring.readings import Rates, Readings, key

# https://mariadb.com/kb/en/server-status-variables/ and https://mariadb.com/kb/en/innodb-status-variables/
_AS_THEY_ARE = {
    "uptime": "Uptime",
    "connections": "Threads_connected",
    "connections.peak": "Max_used_connections",
    "threads.running": "Threads_running",
    "threads.cached": "Threads_cached",
    "innodb.rowlock.waiting": "Innodb_row_lock_current_waits",
    "innodb.history": "Innodb_history_list_length",
    "innodb.files.open": "Innodb_num_open_files",
    "tables.open": "Open_tables",
    "tables.definitions": "Open_table_definitions",
}
# MariaDB keeps one connection more for those who may do everything. Whoever finds only that one free is refused after
# the login, and counted as Aborted_connects alone.
_BY_SECOND = {
    "connections.rate": "Connections",
    "connections.refused": "Connection_errors_max_connections",
    "connections.aborted": "Aborted_connects",
    "clients.aborted": "Aborted_clients",
    "threads.created": "Threads_created",
    "queries": "Queries",
    "questions": "Questions",
    "queries.slow": "Slow_queries",
    "received": "Bytes_received",
    "sent": "Bytes_sent",
    "innodb.pool.requests": "Innodb_buffer_pool_read_requests",
    "innodb.pool.reads": "Innodb_buffer_pool_reads",
    "innodb.pool.waits": "Innodb_buffer_pool_wait_free",
    "innodb.read": "Innodb_data_read",
    "innodb.written": "Innodb_data_written",
    "innodb.fsyncs": "Innodb_data_fsyncs",
    "innodb.log.waits": "Innodb_log_waits",
    "innodb.log.written": "Innodb_os_log_written",
    "innodb.rowlock.waits": "Innodb_row_lock_waits",
    "innodb.deadlocks": "Innodb_deadlocks",
    "tmp.tables": "Created_tmp_tables",
    "tmp.disk": "Created_tmp_disk_tables",
    "tmp.files": "Created_tmp_files",
    "tables.opened": "Opened_tables",
    "joins.full": "Select_full_join",
    "handler.readrnd": "Handler_read_rnd_next",
    "binlog.disk": "Binlog_cache_disk_use",
    "binlog.commits": "Binlog_commits",
    "binlog.groups": "Binlog_group_commits",
}
_COMMANDS = ("select", "insert", "update", "delete", "commit", "rollback")
_ERRORS = tuple(f"Connection_errors_{kind}" for kind in ("accept", "internal", "peer_address", "select", "tcpwrap"))
_PAGES, _FREE, _DIRTY = (f"Innodb_buffer_pool_pages_{kind}" for kind in ("total", "free", "dirty"))
_WAITED, _LONGEST = "Innodb_row_lock_time", "Innodb_row_lock_time_max"

NAMES = (
    *_AS_THEY_ARE.values(),
    *_BY_SECOND.values(),
    *(f"Com_{command}" for command in _COMMANDS),
    *_ERRORS,
    *(_PAGES, _FREE, _DIRTY, _WAITED, _LONGEST),
)

# By the name of a status or a variable, as the server writes it.
Texts = Mapping[str, str]


def numbers_in(status: Texts) -> dict[str, float]:
    """Those that are numbers."""
    return {name: float(text) for name, text in status.items() if text.replace(".", "", 1).isdecimal()}


def figures(status: Texts, variables: Texts, rates: Rates, now: float) -> Readings:
    """The figures of a server; those that need what it does not have are left out."""
    numbers, limits = numbers_in(status), numbers_in(variables)
    told = named("db", {name: _whole(numbers.get(status)) for name, status in _AS_THEY_ARE.items()})
    counts = {key(f"db.{name}"): numbers[status] for name, status in _BY_SECOND.items() if status in numbers}
    for command in _COMMANDS:
        if f"Com_{command}" in numbers:
            counts[key("db.commands", command)] = numbers[f"Com_{command}"]
    errors = [numbers[name] for name in _ERRORS if name in numbers]
    if errors:
        counts[key("db.connections.errors")] = sum(errors)
    told |= rates_of(rates, counts, now)
    return told | _connections(numbers, limits) | _pool(numbers, limits, told) | _rowlocks(numbers, rates, told, now)


def _connections(numbers: Mapping[str, float], limits: Mapping[str, float]) -> Readings:
    used, most = numbers.get("Threads_connected"), limits.get("max_connections")
    share = 100 * used / most if used is not None and most else None
    return named("db.connections", {"max": _whole(most), "share": share})


def _pool(numbers: Mapping[str, float], limits: Mapping[str, float], rates: Readings) -> Readings:
    """Shares are of the pool's pages; hits are of the reads since the last look, all of none."""
    pages, free, dirty = (numbers.get(name) for name in (_PAGES, _FREE, _DIRTY))
    asked, missed = rates.get(key("db.innodb.pool.requests")), rates.get(key("db.innodb.pool.reads"))
    hits = None
    if isinstance(asked, float) and isinstance(missed, float):
        # What is read ahead of being asked for counts as a read, too.
        hits = max(0.0, 100 * (1 - missed / asked)) if asked else 100.0
    shares = {
        "size": _whole(limits.get("innodb_buffer_pool_size")),
        "used": 100 * (pages - free) / pages if pages and free is not None else None,
        "dirty": 100 * dirty / pages if pages and dirty is not None else None,
        "hits": hits,
    }
    return named("db.innodb.pool", shares)


def _rowlocks(numbers: Mapping[str, float], rates: Rates, told: Readings, now: float) -> Readings:
    """In seconds: how long those waited on average whose wait ended since the last look."""
    waits, longest = told.get(key("db.innodb.rowlock.waits")), numbers.get(_LONGEST)
    waited = rates.of(_WAITED, numbers[_WAITED], now) if _WAITED in numbers else None
    average = None
    if waited is not None and isinstance(waits, float):
        average = waited / waits / 1000 if waits else 0.0
    return named("db.innodb.rowlock", {"time": average, "longest": None if longest is None else longest / 1000})


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
