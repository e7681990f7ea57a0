"""The sidecar's own certificate, followed while it runs."""

import logging
from pathlib import Path

from registry import identity, tls

_log = logging.getLogger("sharemesh.monitoring")


class Certificate:
    """What channels are opened with, by the files of a folder as they are now. Raises BadCertificate at its start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = identity.stamp(folder)
        self.credentials = tls.channel_credentials(folder)

    def has_changed(self) -> bool:
        """Whether there are new credentials; with files that cannot be used the last ones are kept."""
        stamp = identity.stamp(self._folder)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.credentials = tls.channel_credentials(self._folder)
        except identity.BadCertificate as error:
            _log.warning("certificate_not_taken", {"error": str(error)})
            return False
        return True
