"""A program that has children, all of which end with it."""

import contextlib
import os
import signal
import subprocess
import time

from local.process import POLL_SECONDS, STOP_SECONDS, Process, is_open


class Family(Process):
    """A process that leads a process group of its own."""

    def stop(self) -> int:
        """Tells it to end, which ends its children, and kills whoever is left after a while; its exit code."""
        process = self.process
        if process is not None and process.poll() is None:
            # PHP hears nothing else, and only this one reaches its children.
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        code = 0 if process is None or process.returncode is None else process.returncode
        self.kill()
        return code

    def kill(self) -> None:
        """Ends all of it at once."""
        process, self.process = self.process, None
        if process is not None:
            # Some may have outlived the first of them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # Its orphans listen for some milliseconds more.
            end = time.monotonic() + STOP_SECONDS
            while is_open(self.address) and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
