"""The mesh's database, by its URL: MariaDB or MySQL over one kept connection, or a file of SQLite.

The sidecar's user on MariaDB or MySQL needs to change and read nothing of the mesh's. What its figures need:

    CREATE USER 'sidecar'@'%' IDENTIFIED BY '...';
    GRANT SELECT ON sharemesh.* TO 'sidecar'@'%';            -- to connect to the database, and its size
    GRANT SLAVE MONITOR ON *.* TO 'sidecar'@'%';             -- replication, on MariaDB 10.5 and later
    GRANT REPLICATION CLIENT, PROCESS ON *.* TO 'sidecar'@'%';  -- on MySQL: replication; deadlocks and history

All else any user may ask: SHOW GLOBAL STATUS, SHOW GLOBAL VARIABLES and the time. Of other schemas the sizes are shown
of those on which it has some right. What a user may not see is left out, and logged.
"""

from pathlib import Path

from monitoring.readings import Readings
from monitoring.sql import location
from monitoring.sql.mariadb import Server
from monitoring.sql.sqlite import Sqlite


class Database:
    """The database at a URL of location.parse(), which raises ValueError for any other; for one thread at a time.

    Of several hosts the first that answers is asked: where each node of a cluster has a sidecar, give each its own.
    """

    def __init__(self, url: str) -> None:
        where = location.parse(url)
        self._one: Server | Sqlite = Sqlite(where) if isinstance(where, Path) else Server(where)

    def read(self) -> Readings:
        """The figures; db.up is 0 if it is away. Never raises.

        It takes milliseconds, of a server that hangs a second for each host, and of one that does so for long it is not
        even tried each time. A host's name is looked up for as long as the system's resolver likes.
        """
        return self._one.read()

    def close(self) -> None:
        """Close the connection."""
        self._one.close()
