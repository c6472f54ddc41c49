"""Our key file as a running server sees it: a rotation is taken up without a restart."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from pathlib import Path

from adapters.uftp.keys import KeyRing, SigningKey

__all__ = ["KeyFile"]

_LOOK_AGAIN_S = 1.0

log = logging.getLogger(__name__)


class KeyFile:
    """A key file that may be replaced at any time; looked at once a second at most.

    Raises, when it is made:
        OSError, ValueError: as `KeyRing.read`. Later, a file that cannot be read leaves the keys as they are.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _version(path)
        self._ring = KeyRing.read(path)
        self._looked = time.monotonic()

    def signing(self, now: datetime) -> SigningKey:
        """The key to sign with at `now` (market time)."""
        if time.monotonic() - self._looked >= _LOOK_AGAIN_S:
            self._looked = time.monotonic()
            self._look()
        return self._ring.signing(now)

    def _look(self) -> None:
        try:
            version = _version(self._path)  # before the content: a file replaced in between is read once more
            if version != self._version:
                self._ring, self._version = KeyRing.read(self._path), version
                log.info("the signing keys were changed: %d are in use", len(self._ring.keys))
        except (OSError, ValueError) as error:
            log.error("the signing keys cannot be read again, the old ones stay: %s", error)


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino
