"""The machine's network interfaces: what goes in and out, beside what the link can take, and what is lost."""

import re

import psutil

from monitoring.figures import rates_of
from monitoring.readings import Rates, Readings, discovery, key

_BITS = 8
_MEGABIT = 1_000_000
# The filter of Zabbix's "Linux by Zabbix agent" ({$NET.IF.IFNAME.NOT_MATCHES}): no loopback, none of Docker's; and none
# of the other ones that Linux and Kubernetes make of software, whose packets an interface of the machine's own carries.
HIDDEN = re.compile(
    r"lo[0-9.]*|veth.*|docker[0-9]+|docker_gwbridge|br-[a-z0-9]{12}|virbr.*|vnet[0-9]+|tap.*"
    r"|cali.*|cni.*|flannel.*|lxc.*|cilium.*|kube-.*|nodelocaldns"
    r"|ifb[0-9]+|dummy[0-9]+|tunl[0-9]+|sit[0-9]+|gre[0-9]+|gretap[0-9]+|erspan[0-9]+|ip6.*|ip_vti[0-9]+"
)


class Interfaces:
    """All interfaces but those whose names are `hidden`."""

    def __init__(self, hidden: re.Pattern[str] = HIDDEN) -> None:
        self._hidden = hidden
        self._rates = Rates()

    def interfaces(self, now: float) -> Readings:
        """Rates since the last look; the share is of the fuller way, since a link can do both at once."""
        links = psutil.net_if_stats()
        told: Readings = {}
        rows = []
        # Wrapped counters begin anew for us, too.
        for name, counted in psutil.net_io_counters(pernic=True, nowrap=False).items():
            link = links.get(name)
            if link is None or self._hidden.fullmatch(name):
                continue
            rows.append({"{#INTERFACE}": name})
            into, out = key("host.net.in", name), key("host.net.out", name)
            lost = {
                key("host.net.in.errors", name): counted.errin,
                key("host.net.out.errors", name): counted.errout,
                key("host.net.in.dropped", name): counted.dropin,
                key("host.net.out.dropped", name): counted.dropout,
            }
            bits = rates_of(self._rates, {into: counted.bytes_recv, out: counted.bytes_sent}, now, _BITS)
            told |= bits | rates_of(self._rates, lost, now)
            speed = link.speed * _MEGABIT
            told |= {key("host.net.speed", name): speed, key("host.net.up", name): int(link.isup)}
            if speed and bits:
                told[key("host.net.utilization", name)] = 100 * max(map(float, bits.values())) / speed
        told[key("host.net.discovery")] = discovery(rows)
        return told
