"""Open orders on disk, so that a restarted adapter knows what it left in the devices."""

from __future__ import annotations

import time
from typing import Any

from adapters.ports import Change, State
from datamodels import Dispatch, decode, encode

__all__ = ["Journal"]

_KIND = "modbus.order"
_QUIET_S = 2.0


class Journal:
    """The open dispatches of one resource.

    A dispatch is on disk before anything of it is written to the device; later revisions follow within two seconds
    (`flush`), which spares the disk when a plan is repaired several times a second.
    """

    def __init__(self, state: State, resource: str) -> None:
        self._state = state
        self._resource = resource
        self._known: set[str] = set()
        self._behind: dict[str, Dispatch] = {}
        self._written = 0.0

    def load(self) -> list[Dispatch]:
        documents = self._state.load(_KIND)
        found = [decode(d["dispatch"]) for d in documents.values() if d["resource"] == self._resource]
        self._known = {d.id for d in found}
        return found

    async def open(self, dispatch: Dispatch) -> None:
        self._behind[dispatch.id] = dispatch
        if dispatch.id not in self._known:
            self._known.add(dispatch.id)
            await self.flush(now=True)

    async def close(self, dispatch: str) -> None:
        self._behind.pop(dispatch, None)
        if dispatch in self._known:
            self._known.discard(dispatch)
            await self._state.commit(Change(_KIND, dispatch, None))

    async def flush(self, *, now: bool = False) -> None:
        if self._behind and (now or time.monotonic() - self._written >= _QUIET_S):
            behind, self._behind = self._behind, {}
            self._written = time.monotonic()
            await self._state.commit(*(Change(_KIND, d.id, self._document(d)) for d in behind.values()))

    def _document(self, dispatch: Dispatch) -> dict[str, Any]:
        return {"resource": self._resource, "dispatch": encode(dispatch)}
