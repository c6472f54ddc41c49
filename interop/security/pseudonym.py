"""Keyed pseudonyms: the same person has another name towards every recipient, and none once the key is destroyed.

HMAC-SHA256(key of the recipient, id), cut to 128 bits. Without the key, a name leads back to nobody, and names that
two recipients hold cannot be joined.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

__all__ = ["Pseudonyms"]

_KEY_BYTES = 32


class Pseudonyms:
    """Keys per recipient, one file each (mode 0600) in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[str, bytes] = {}

    def of(self, recipient: str, identity: str) -> str:
        """The pseudonym of `identity` towards `recipient`: 26 characters of base32, lower case."""
        mac = hmac.digest(self._key(recipient), identity.encode(), hashlib.sha256)[:16]
        return base64.b32encode(mac).decode("ascii").rstrip("=").lower()

    def rotate(self, recipient: str) -> None:
        """Destroy a recipient's key: its pseudonyms can be traced by nobody any more, new ones differ."""
        self._keys.pop(recipient, None)
        self._path(recipient).unlink(missing_ok=True)

    def _key(self, recipient: str) -> bytes:
        if recipient not in self._keys:
            path = self._path(recipient)
            if not path.exists():
                _create(path, secrets.token_bytes(_KEY_BYTES))
            key = path.read_bytes()
            if len(key) != _KEY_BYTES:
                raise ValueError(f"{path} holds {len(key)} bytes, a key has {_KEY_BYTES}: restore it from a backup")
            self._keys[recipient] = key
        return self._keys[recipient]

    def _path(self, recipient: str) -> Path:
        return self._directory / f"{hashlib.sha256(recipient.encode()).hexdigest()[:32]}.key"


def _create(path: Path, key: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
