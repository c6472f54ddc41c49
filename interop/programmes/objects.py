"""The programme model as those see it who only read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from datamodels import Entry

__all__ = ["Objects"]

E = TypeVar("E", bound=Entry)


class Objects(Protocol):
    """See `adapters.ports.Programmes`."""

    def get(self, kind: type[E], id: str) -> E | None: ...

    def all(self, kind: type[E]) -> Mapping[str, E]: ...

    @property
    def last(self) -> int: ...
