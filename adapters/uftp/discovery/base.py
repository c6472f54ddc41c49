"""The contract of a directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from datamodels import Role

__all__ = ["Directory", "DirectoryError", "Found", "Unavailable", "Unlisted"]


class DirectoryError(Exception):
    """::

    DirectoryError
    ├── Unavailable   no answer, or none that can be believed: worth another try later
    └── Unlisted      the directory knows no such participant
    """


class Unavailable(DirectoryError):
    pass


class Unlisted(DirectoryError):
    pass


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory says of a participant: one or two keys of 32 bytes, its URL ("" where it says none), the
    versions it speaks (empty where it says none), and the wall time until which all of that holds."""

    keys: tuple[bytes, ...]
    endpoint: str
    versions: tuple[str, ...]
    expires: datetime


class Directory(Protocol):
    async def find(self, domain: str, role: Role) -> Found:
        """Look a participant up (Unavailable, Unlisted)."""

    async def close(self) -> None:
        """Give back connections."""
