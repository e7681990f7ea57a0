"""What a replica says of the servers that it follows."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.figures import named
from monitoring.readings import Readings, discovery, key

# The SQL that asks for it. MySQL renamed statement and columns in 8.0.22, and dropped the old ones in 8.4.
MARIADB = "SHOW ALL SLAVES STATUS"
MYSQL = "SHOW REPLICA STATUS"
MYSQL_BEFORE_8_0_22 = "SHOW SLAVE STATUS"
_YES = "Yes"
# What Zabbix keeps of a text of one line.
_LONGEST = 255


def figures(rows: Sequence[Mapping[str, Any]]) -> Readings:
    """The figures of each source; the lag only while it is known, which it is not while nothing arrives or runs."""
    told: Readings = {}
    named_rows = []
    for row in rows:
        new = {name.replace("Master", "Source").replace("Slave", "Replica"): value for name, value in row.items()}
        # Of several sources each has a name; a lone one has none.
        source = str(
            new.get("Connection_name") or new.get("Channel_Name") or f"{new['Source_Host']}:{new['Source_Port']}"
        )
        named_rows.append({"{#SOURCE}": source})
        values = {
            "io": int(new["Replica_IO_Running"] == _YES),
            "sql": int(new["Replica_SQL_Running"] == _YES),
            "lag": new.get("Seconds_Behind_Source"),
        }
        told |= named("db.replication", values, source)
        told[key("db.replication.state", source)] = _state(new)
    told[key("db.replication.discovery")] = discovery(named_rows)
    return told


def _state(row: Mapping[str, Any]) -> str:
    """What is wrong, else what it is doing."""
    words = (row.get(name) for name in ("Last_SQL_Error", "Last_IO_Error", "Replica_SQL_Running_State"))
    return next((str(text) for text in words if text), "stopped")[:_LONGEST]
