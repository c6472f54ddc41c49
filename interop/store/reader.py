"""Read-only queries: plain functions over a SQLite connection, usable without a running server (CLI, audit)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.ports import Direction
from datamodels import Quality, Quantity, Telemetry
from interop.store import chain, text
from interop.store.base import (
    ChainReport,
    Document,
    EventRow,
    InboxRow,
    InboxState,
    MessageRow,
    OutboxRow,
    OutboxState,
    Seen,
    StoreError,
    instant,
)
from interop.store.known import Known

__all__ = ["EPOCH", "MAIN_FILE", "TELEMETRY_FILE", "Reader", "microseconds"]

MAIN_FILE = "gridparley.db"
TELEMETRY_FILE = "telemetry.db"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INBOX = "seq, adapter, peer, kind, raw, received_at, message_id, conversation_id, content, conflict, state, reason"
_OUTBOX = (
    "seq, adapter, peer, message_id, conversation_id, kind, body, queued_at, attempts, first_wall, next_wall, "
    "state, reason, until_wall"
)
_MESSAGES = """
SELECT * FROM (
    SELECT 'in' AS direction, seq, adapter, peer, kind, message_id, conversation_id, received_at AS at, state, reason,
           accepted, reasons, message, raw FROM inbox {where} ORDER BY seq DESC LIMIT :limit)
UNION ALL
SELECT * FROM (
    SELECT 'out', seq, adapter, peer, kind, message_id, conversation_id, queued_at, state, reason,
           accepted, reasons, message, body FROM outbox {where} ORDER BY seq DESC LIMIT :limit)
"""
# The head of a conversation is its oldest pending row; a later one waits for it.
_HEADS = """
FROM outbox AS o WHERE o.state = 'PENDING' AND NOT EXISTS (
    SELECT 1 FROM outbox AS e
    WHERE e.state = 'PENDING' AND e.peer = o.peer AND e.conversation_id = o.conversation_id AND e.seq < o.seq)
"""


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


class Reader:
    """A read-only view of a data directory. Not shared between threads.

    Raises:
        StoreError: there is no database.
    """

    def __init__(self, directory: Path, *, shared: bool = False) -> None:
        """`shared` lets another thread than the one that opened it close it."""
        self._main = _open(directory / MAIN_FILE, shared)
        self._telemetry = _open(directory / TELEMETRY_FILE, shared)

    def close(self) -> None:
        self._main.close()
        self._telemetry.close()

    def unprocessed(self, limit: int = 64) -> list[InboxRow]:
        query = f"SELECT {_INBOX} FROM inbox WHERE state = 'NEW' ORDER BY seq LIMIT ?"  # noqa: S608 - constants
        return [_inbox_row(row) for row in self._main.execute(query, (limit,))]

    def seen(self, adapter: str, peer: str, message_id: str) -> list[Seen]:
        query = "SELECT seq, digest, conflict FROM inbox WHERE message_id = ? AND peer = ? AND adapter = ? ORDER BY seq"
        return [Seen(s, d, bool(c)) for s, d, c in self._main.execute(query, (message_id, peer, adapter))]

    def identities(self) -> Known:
        """The identities of all received messages, with room for as many again."""
        (count,) = self._main.execute("SELECT COUNT(*) FROM inbox").fetchone()
        known = Known(2 * count)
        query = "SELECT adapter, peer, message_id FROM inbox WHERE message_id IS NOT NULL"
        for identity in self._main.execute(query):
            known.add(identity)
        return known

    def last_taken(self) -> int:
        row = self._main.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        return int(row[0]) if row else 0

    def due(self, wall: float, limit: int = 64) -> list[OutboxRow]:
        query = f"SELECT {_OUTBOX} {_HEADS} AND o.next_wall <= ? ORDER BY o.seq LIMIT ?"
        return [_outbox_row(row) for row in self._main.execute(query, (wall, limit))]

    def pending(self, most: int) -> list[OutboxRow] | None:
        counted = "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE state = 'PENDING' LIMIT ?)"
        if self._main.execute(counted, (most + 1,)).fetchone()[0] > most:
            return None
        query = f"SELECT {_OUTBOX} FROM outbox WHERE state = 'PENDING' ORDER BY seq"  # noqa: S608 - constants
        return [_outbox_row(row) for row in self._main.execute(query)]

    def next_due(self) -> float | None:
        row = self._main.execute(f"SELECT MIN(o.next_wall) {_HEADS}").fetchone()
        return None if row[0] is None else float(row[0])

    def documents(self, space: str, kind: str | None = None) -> list[Document]:
        query, values = "SELECT space, kind, key, value FROM documents WHERE space = ?", [space]
        if kind is not None:
            query, values = query + " AND kind = ?", [space, kind]
        rows = self._main.execute(query + " ORDER BY rowid", values)
        return [Document(s, k, key, text.load(v)) for s, k, key, v in rows]

    def events(self, after: int = 0, limit: int = 1000, kinds: Sequence[str] = ()) -> list[EventRow]:
        return self._events("ORDER BY seq LIMIT ?", after, limit, kinds)

    def latest_events(self, limit: int = 100, kinds: Sequence[str] = ()) -> list[EventRow]:
        return self._events("ORDER BY seq DESC LIMIT ?", 0, limit, kinds)[::-1]

    def _events(self, order: str, after: int, limit: int, kinds: Sequence[str]) -> list[EventRow]:
        query = "SELECT seq, at, kind, data, prev_hash, hash FROM events WHERE seq > ?"
        if kinds:
            query += f" AND kind IN ({', '.join('?' * len(kinds))})"
        rows = self._main.execute(f"{query} {order}", (after, *kinds, limit))
        return [EventRow(s, instant(at), k, text.load(d), p, h) for s, at, k, d, p, h in rows]

    def messages(self, conversation: str | None = None, peer: str | None = None, limit: int = 200) -> list[MessageRow]:
        conditions = {"conversation_id = :conversation": conversation, "peer = :peer": peer}
        wanted = " AND ".join(condition for condition, value in conditions.items() if value is not None)
        query = (
            _MESSAGES.format(where=f"WHERE {wanted}" if wanted else "")
            + " ORDER BY at DESC, direction DESC, seq DESC LIMIT :limit"
        )
        values = {"conversation": conversation, "peer": peer, "limit": limit}
        return [_message_row(row) for row in self._main.execute(query, values)][::-1]

    def message(self, message_id: str) -> list[MessageRow]:
        query = _MESSAGES.format(where="WHERE message_id = :id") + " ORDER BY at, direction, seq"
        return [_message_row(row) for row in self._main.execute(query, {"id": message_id, "limit": -1})]

    def counts(self) -> dict[str, dict[str, int]]:
        inbox, outbox = self._counts("inbox", InboxState), self._counts("outbox", OutboxState)
        return {"inbox": inbox, "outbox": outbox}

    def _counts(self, table: str, states: type[InboxState] | type[OutboxState]) -> dict[str, int]:
        """By indexes alone: the rows are long. Nearly all of them are in the one state that has no index."""
        usual = InboxState.DONE if states is InboxState else OutboxState.DELIVERED
        rare = [state for state in states if state != usual]
        parts = [f"(SELECT COUNT(*) FROM {table} WHERE state = '{state}')" for state in rare]  # noqa: S608 - constants
        query = f"SELECT (SELECT COUNT(*) FROM {table}), {', '.join(parts)}"  # noqa: S608 - constants
        total, *counted = self._main.execute(query).fetchone()
        numbers = dict(zip(rare, counted, strict=True))
        return {str(state): numbers.get(state, total - sum(counted)) for state in states}

    def telemetry(
        self, resource: str, quantity: Quantity, first: datetime, last: datetime, limit: int = 100_000
    ) -> list[Telemetry]:
        rows = self._telemetry.execute(
            "SELECT at, value, duration_s, quality FROM telemetry"
            " WHERE resource = ? AND quantity = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?",
            (resource, str(quantity), microseconds(first), microseconds(last), limit),
        )
        return [
            Telemetry(resource, quantity, EPOCH + timedelta(microseconds=at), value, duration, Quality(quality))
            for at, value, duration, quality in rows
        ]

    def verify_chain(self) -> ChainReport:
        return chain.verify(self._main.execute("SELECT seq, at, kind, data, prev_hash, hash FROM events ORDER BY seq"))

    def backup(self, directory: Path) -> None:
        """Copy both files consistently into a directory that holds none yet (FileExistsError otherwise)."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, source in ((MAIN_FILE, self._main), (TELEMETRY_FILE, self._telemetry)):
            target = directory / name
            target.touch(mode=0o600, exist_ok=False)
            copy = sqlite3.connect(target)
            try:
                source.backup(copy)
            finally:
                copy.close()


def _open(path: Path, shared: bool) -> sqlite3.Connection:
    if not path.exists():
        raise StoreError(f"there is no database {path}: has a server run with this data_dir?")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5, check_same_thread=not shared)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _json(stored: str | None) -> Any:
    return None if stored is None else text.load(stored)


def _inbox_row(row: Sequence[Any]) -> InboxRow:
    seq, adapter, peer, kind, raw, at, message_id, conversation, content, conflict, state, reason = row
    return InboxRow(
        seq,
        adapter,
        peer,
        kind,
        raw,
        instant(at),
        message_id,
        conversation,
        _json(content),
        bool(conflict),
        InboxState(state),
        reason,
    )


def _outbox_row(row: Sequence[Any]) -> OutboxRow:
    *head, queued_at, attempts, first_wall, next_wall, state, reason, until_wall = row
    seq, adapter, peer, message_id, conversation, kind, body = head
    return OutboxRow(
        seq,
        adapter,
        peer,
        message_id,
        conversation,
        kind,
        body,
        instant(queued_at),
        attempts,
        first_wall,
        next_wall,
        OutboxState(state),
        reason,
        until_wall,
    )


def _message_row(row: Sequence[Any]) -> MessageRow:
    direction, seq, adapter, peer, kind, message_id, conversation, at, state, reason, *rest = row
    accepted, reasons, message, raw = rest
    return MessageRow(
        Direction(direction),
        seq,
        adapter,
        peer,
        kind,
        message_id,
        conversation,
        instant(at),
        state,
        reason,
        None if accepted is None else bool(accepted),
        tuple(text.load(reasons)),
        _json(message),
        raw,
    )
