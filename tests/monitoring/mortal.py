"""A process with an outbox of its own, for a test to kill: FILE PORT HOST KEYS BEATS CLOCK."""

import sys
import time
from pathlib import Path

from monitoring.delivery.outbox import Outbox
from monitoring.zabbix import Sender


def main() -> None:
    """Puts the beats, each a second after the other, says so, and ends when nothing waits any more."""
    file, port, host, keys, beats, clock = sys.argv[1:]
    outbox = Outbox(Path(file), Sender([("127.0.0.1", int(port))]))
    for beat in range(int(beats)):
        outbox.put(host, dict.fromkeys(keys.split(","), float(beat)), int(clock) + beat)
    print("put", flush=True)
    while outbox.stats().waiting:
        time.sleep(0.02)
    outbox.close()


if __name__ == "__main__":
    main()
