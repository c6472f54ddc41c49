"""What is to be delivered, in memory: rows of the outbox by line (a conversation with a peer), oldest first.

Of a line only the head is tried; the next one follows it at once. The store knows all of this too, and is asked at the
start, when something there changed behind our back, and while more is pending than is held here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from interop.store import OutboxRow

__all__ = ["Lines"]

Line = tuple[str, str]


class Lines:
    """`complete`: all that is pending is here (at most `most` rows), so a row that becomes durable now is the last of
    its line."""

    def __init__(self, most: int) -> None:
        self.complete = False
        self.most = most
        self._count = 0
        self._rows: dict[Line, deque[OutboxRow]] = {}
        self._heads: list[tuple[float, int, Line]] = []
        """When to try which head. Entries whose head has changed since are passed over."""
        self._busy: dict[Line, int] = {}
        """Lines of which a row (its seq) is being tried."""

    def reset(self, rows: Iterable[OutboxRow], *, complete: bool) -> None:
        """Replace everything by what the store holds, in the order of `seq`; what is being tried goes on."""
        self.complete, self._count = complete, 0
        self._rows, self._heads = {}, []
        for row in rows:
            self._append(row)

    def add(self, row: OutboxRow) -> bool:
        """Take a row that just became durable; False where its place in its line is not known."""
        self.complete = self.complete and self._count < self.most
        if self.complete:
            self._append(row)
        return self.complete

    def _append(self, row: OutboxRow) -> None:
        line = (row.peer, row.conversation_id)
        rows = self._rows.setdefault(line, deque())
        rows.append(row)
        self._count += 1
        if len(rows) == 1:
            heapq.heappush(self._heads, (row.next_wall, row.seq, line))

    def take(self, now: float, room: Callable[[str], bool]) -> list[OutboxRow]:
        """The rows to try now, as far as there is `room` for more to their peers; their lines are busy from here on."""
        taken: list[OutboxRow] = []
        later: list[tuple[float, int, Line]] = []
        while self._heads and self._heads[0][0] <= now:
            entry = heapq.heappop(self._heads)
            _, seq, line = entry
            rows = self._rows.get(line)
            if not rows or rows[0].seq != seq or line in self._busy:
                continue
            if room(line[0]):
                self._busy[line] = seq
                taken.append(rows[0])
            else:
                later.append(entry)
        for entry in later:
            heapq.heappush(self._heads, entry)
        return taken

    def end(self, row: OutboxRow, again: OutboxRow | None = None) -> None:
        """A try is over. With `again` (the row with its next time) it stays the head; else the next one follows."""
        line = (row.peer, row.conversation_id)
        if self._busy.get(line) == row.seq:
            del self._busy[line]
        rows = self._rows.get(line)
        if not rows:
            return
        if rows[0].seq == row.seq:
            rows.popleft()
            self._count -= 1
            if again is not None:
                rows.appendleft(again)
                self._count += 1
        if rows:
            heapq.heappush(self._heads, (rows[0].next_wall, rows[0].seq, line))
        else:
            del self._rows[line]

    def busy(self, peer: str | None = None) -> int:
        """How many rows are being tried, optionally to one peer."""
        return len(self._busy) if peer is None else sum(line[0] == peer for line in self._busy)

    def due(self, now: float) -> bool:
        """Whether there may be something to take."""
        return bool(self._heads) and self._heads[0][0] <= now

    @property
    def next_wall(self) -> float | None:
        """When the next head is due."""
        return self._heads[0][0] if self._heads else None
