"""What a Galera node's status says of it and its cluster."""

from collections.abc import Mapping

from monitoring.figures import named, rates_of
from monitoring.readings import Rates, Readings, discovery, key

# https://galeracluster.com/library/documentation/galera-status-variables.html
NAMES = tuple(
    f"wsrep_{name}"
    for name in (
        "cluster_size",
        "cluster_status",
        "ready",
        "connected",
        "local_state",
        "local_recv_queue",
        "local_send_queue",
        "local_cert_failures",
        "local_bf_aborts",
        "flow_control_paused_ns",
    )
)
VARIABLES = ("wsrep_on", "wsrep_cluster_name")
_ON = "ON"


def figures(status: Mapping[str, str], variables: Mapping[str, str], rates: Rates, now: float) -> Readings:
    """The figures of a node, and the discovery rule's value: no cluster where the server is in none."""
    rule = key("db.galera.discovery")
    if variables.get("wsrep_on") != _ON or "wsrep_cluster_size" not in status:
        return {rule: discovery(())}
    cluster = variables.get("wsrep_cluster_name", "")
    values = {
        "size": int(status["wsrep_cluster_size"]),
        "primary": int(status.get("wsrep_cluster_status") == "Primary"),
        "ready": int(status.get("wsrep_ready") == _ON),
        "connected": int(status.get("wsrep_connected") == _ON),
        "state": _number(status, "wsrep_local_state"),
        "queue.received": _number(status, "wsrep_local_recv_queue"),
        "queue.sent": _number(status, "wsrep_local_send_queue"),
    }
    lost = (_number(status, "wsrep_local_cert_failures"), _number(status, "wsrep_local_bf_aborts"))
    conflicts = {key("db.galera.conflicts", cluster): float(sum(one or 0 for one in lost))}
    paused = _number(status, "wsrep_flow_control_paused_ns")
    # Nanoseconds a second, as percent; wsrep_flow_control_paused is the same since the start.
    pauses = {} if paused is None else {key("db.galera.paused", cluster): float(paused)}
    return (
        {rule: discovery([{"{#CLUSTER}": cluster}])}
        | named("db.galera", values, cluster)
        | rates_of(rates, conflicts, now)
        | rates_of(rates, pauses, now, 100 / 1e9)
    )


def _number(status: Mapping[str, str], name: str) -> int | None:
    text = status.get(name, "")
    return int(text) if text.isdecimal() else None
