"""The inbox rows that wait to be handled, in order of arrival: from memory while handling keeps up, else the store.

A row is in the store before it is put here, so nothing here needs to be kept; what it adds is that neither the store
nor the adapter reads again what this process has just had in hand.
"""

from __future__ import annotations

import asyncio

from interop.store import InboxRow, StorePort, StoreUnavailable

__all__ = ["Intake"]

_MOST = 256


class Intake:
    """Use from the event loop only."""

    def __init__(self, store: StorePort) -> None:
        self._store = store
        self._rows: list[InboxRow] = []
        self._taken = 0
        self._behind = True
        """The store may hold rows that are not here: those of earlier processes, and what did not fit."""
        self._wake = asyncio.Event()

    def put(self, row: InboxRow) -> None:
        """A row became durable; to be called in the order of `seq`."""
        if self._behind or len(self._rows) == _MOST:
            self._behind = True
        else:
            self._rows.append(row)
        self._wake.set()

    def wake(self) -> None:
        """Let `wait` return."""
        self._wake.set()

    async def wait(self) -> None:
        """Until there may be something to take."""
        await self._wake.wait()

    async def take(self) -> list[InboxRow]:
        """The rows to handle next, each once; none where nothing waits. Raises StoreUnavailable, taking nothing."""
        self._wake.clear()
        rows, self._rows = self._rows, []
        if self._behind and not rows:
            self._behind = False  # what comes in from now on is kept here, until the store is seen to hold more
            try:
                rows = await self._store.unprocessed(_MOST)
            except StoreUnavailable:
                self._behind = True
                raise
            if rows:
                self._behind, self._rows = True, []
        rows = [row for row in rows if row.seq > self._taken]
        if rows:
            self._taken = rows[-1].seq
        return rows
