"""The store on SQLite: WAL, `synchronous=FULL`, one writing thread with group commit, read-only connections beside it.

Two files lie in the data directory: `gridparley.db` (all that must never be lost) and `telemetry.db` (measurements;
`synchronous=NORMAL`, so that the last moment may be lost with the power, but not with the process).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from datamodels import Quantity, Telemetry
from interop.store import chain, text
from interop.store.base import (
    Again,
    AlreadyHandled,
    Batch,
    ChainReport,
    Committed,
    Document,
    Event,
    EventRow,
    InboxMark,
    InboxRow,
    InboxState,
    MessageRow,
    OutboxEntry,
    OutboxRow,
    Seen,
    StoreLocked,
    StoreUnavailable,
    Taken,
    stamp,
)
from interop.store.known import Known
from interop.store.migrate import apply_migrations, migrations
from interop.store.reader import MAIN_FILE, TELEMETRY_FILE, Reader, microseconds
from interop.store.writer import Writer

__all__ = ["Store", "locked"]

T = TypeVar("T")
_READERS = 2
_CHECKPOINT_PAGES = 4000
"""16 MB: pages of indexes that change with every message are then carried over once in a while, not each time."""


class Store:
    """A `StorePort` in one directory. Use `await Store.open(directory)`."""

    def __init__(self, directory: Path, observe: Callable[[int], None] = lambda size: None) -> None:
        self.directory = directory
        self._main = Writer(lambda: _connect(directory / MAIN_FILE, "main", "FULL"), observe=observe)
        self._samples = Writer(lambda: _connect(directory / TELEMETRY_FILE, "telemetry", "NORMAL"))
        self._pool = ThreadPoolExecutor(_READERS, "store-reader")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._index: Reader | None = None
        self._known = Known(0)
        self._lock: int | None = None
        self._closing = False

    @classmethod
    async def open(cls, directory: Path, observe: Callable[[int], None] = lambda size: None) -> Store:
        """Lock the directory (made if missing), migrate, and be ready.

        Raises:
            StoreLocked: another process has it open for writing.
            SchemaMismatch: the data belongs to a newer version.
            StoreUnavailable: the directory or a file cannot be used.
        """
        store = cls(directory, observe)
        try:
            store._lock = _lock(directory)
            await store._main.start()
            try:
                await store._samples.start()
            except BaseException:
                await store._main.close()
                raise
        except (OSError, sqlite3.Error) as error:
            store._unlock()
            raise StoreUnavailable(f"{directory} cannot be used: {error}") from error
        except BaseException:
            store._unlock()
            raise
        store._known = await store._read(lambda r: r.identities())
        return store

    async def commit(self, batch: Batch) -> Committed:
        for taken in batch.taken:
            self._known.add((taken.entry.adapter, taken.entry.peer, taken.entry.message_id))
        return await self._main.submit(lambda connection: _write(connection, batch))

    async def record(self, samples: Sequence[Telemetry]) -> None:
        rows = [
            (s.resource, str(s.quantity), microseconds(s.at), s.value, s.duration_s, str(s.quality)) for s in samples
        ]
        await self._samples.submit(
            lambda connection: connection.executemany("INSERT OR REPLACE INTO telemetry VALUES (?,?,?,?,?,?)", rows)
        )

    async def prove(self) -> None:
        await self._main.submit(
            lambda connection: connection.execute(
                "INSERT INTO proof VALUES (1, ?) ON CONFLICT DO UPDATE SET wall = excluded.wall", (time.time(),)
            )
        )

    async def hasten(self, peer: str, wall: float) -> None:
        await self._main.submit(
            lambda connection: connection.execute(
                "UPDATE outbox SET next_wall = ? WHERE peer = ? AND state = 'PENDING' AND next_wall > ?",
                (wall, peer, wall),
            )
        )

    def seen(self, adapter: str, peer: str, message_id: str) -> list[Seen]:
        if (adapter, peer, message_id) not in self._known:
            return []
        return self._look(lambda r: r.seen(adapter, peer, message_id))

    def last_taken(self) -> int:
        return self._look(lambda r: r.last_taken())

    async def unprocessed(self, limit: int = 64) -> list[InboxRow]:
        return await self._read(lambda r: r.unprocessed(limit))

    async def due(self, wall: float, limit: int = 64) -> list[OutboxRow]:
        return await self._read(lambda r: r.due(wall, limit))

    async def pending(self, most: int) -> list[OutboxRow] | None:
        return await self._read(lambda r: r.pending(most))

    async def next_due(self) -> float | None:
        return await self._read(lambda r: r.next_due())

    async def documents(self, space: str, kind: str | None = None) -> list[Document]:
        return await self._read(lambda r: r.documents(space, kind))

    async def events(self, after: int = 0, limit: int = 1000, kinds: Sequence[str] = ()) -> list[EventRow]:
        return await self._read(lambda r: r.events(after, limit, kinds))

    async def latest_events(self, limit: int = 100, kinds: Sequence[str] = ()) -> list[EventRow]:
        return await self._read(lambda r: r.latest_events(limit, kinds))

    async def messages(
        self, conversation: str | None = None, peer: str | None = None, limit: int = 200
    ) -> list[MessageRow]:
        return await self._read(lambda r: r.messages(conversation, peer, limit))

    async def message(self, message_id: str) -> list[MessageRow]:
        return await self._read(lambda r: r.message(message_id))

    async def counts(self) -> dict[str, dict[str, int]]:
        return await self._read(lambda r: r.counts())

    async def telemetry(
        self, resource: str, quantity: Quantity, first: datetime, last: datetime, limit: int = 100_000
    ) -> list[Telemetry]:
        return await self._read(lambda r: r.telemetry(resource, quantity, first, last, limit))

    async def verify_chain(self) -> ChainReport:
        return await self._read(lambda r: r.verify_chain())

    async def backup(self, directory: Path) -> None:
        await self._read(lambda r: r.backup(directory))

    async def close(self) -> None:
        """Finish every write, then close; a second call does nothing."""
        if self._lock is None or self._closing:
            return
        self._closing = True
        await asyncio.to_thread(self._pool.shutdown)
        for reader in (*self._readers, *([self._index] if self._index else [])):
            reader.close()
        await self._main.close()  # the last connection, so that the write-ahead log is folded in
        await self._samples.close()
        self._unlock()

    async def _read(self, query: Callable[[Reader], T]) -> T:
        def run() -> T:
            reader: Reader | None = getattr(self._local, "reader", None)
            if reader is None:
                reader = self._local.reader = Reader(self.directory, shared=True)
                self._readers.append(reader)
            return query(reader)

        if self._lock is None or self._closing:
            raise StoreUnavailable("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"the database cannot be read: {error}") from error

    def _look(self, query: Callable[[Reader], T]) -> T:
        """A query so short that a thread for it would cost more."""
        if self._lock is None or self._closing:
            raise StoreUnavailable("the store is closed")
        if self._index is None:
            self._index = Reader(self.directory)
        try:
            return query(self._index)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"the database cannot be read: {error}") from error

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreLocked(f"{directory} is in use by another gridparley process") from None
    return handle


def locked(directory: Path) -> bool:
    """Whether a process has the store in this directory open for writing."""
    if not (directory / "lock").exists():
        return False
    try:
        os.close(_lock(directory))
    except StoreLocked:
        return True
    return False


def _connect(path: Path, family: str, synchronous: str) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA foreign_keys = ON")
        apply_migrations(connection, migrations(family))
    except Exception:
        connection.close()
        raise
    return connection


# --- one batch, inside a transaction ------------------------------------------------------------------------------


def _write(connection: sqlite3.Connection, batch: Batch) -> Committed:
    events: list[Event] = []
    for taken in batch.taken:
        _take(connection, taken)
        if taken.mark is not None and taken.mark.event is not None:
            events.append(taken.mark.event)
    for mark in batch.marks:
        _mark(connection, mark)
        if mark.event is not None:
            events.append(mark.event)
    for document in batch.documents:
        _document(connection, document)
    queued: dict[str, int] = {}
    for entry in batch.outbox:
        row = _queue(connection, entry)
        if row is not None:
            queued[entry.message_id] = row
            events += [entry.event] if entry.event is not None else []
    if batch.tries:
        connection.executemany(
            "UPDATE outbox SET state = ?, attempts = ?, first_wall = ?, next_wall = ?, reason = ? WHERE message_id = ?",
            [(t.state, t.attempts, t.first_wall, t.next_wall, t.reason, t.message_id) for t in batch.tries],
        )
    if batch.answers:
        connection.executemany(
            "UPDATE outbox SET accepted = ?, reasons = ? WHERE message_id = ?",
            [(a.accepted, text.dump(a.reasons), a.message_id) for a in batch.answers],
        )
    requeued = sum(_requeue(connection, again) for again in batch.again)
    _log(connection, [*events, *batch.events])
    return Committed(queued, requeued)


def _take(connection: sqlite3.Connection, taken: Taken) -> None:
    """A new row, as it ended. The schema's unique keys say that there is none of that identity and content."""
    entry, mark = taken.entry, taken.mark
    cursor = connection.execute(
        "INSERT INTO inbox (seq, adapter, peer, message_id, digest, conflict, kind, conversation_id, raw, content,"
        " received_at, state, reason, message, accepted, reasons)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            taken.seq,
            entry.adapter,
            entry.peer,
            entry.message_id,
            entry.digest,
            taken.conflict,
            (mark.kind if mark else "") or entry.kind,
            entry.conversation_id,
            entry.raw,
            None if entry.content is None else text.dump(entry.content),
            stamp(entry.received_at),
            *(_outcome(mark) if mark else (InboxState.NEW, "", None, None, "[]")),
        ),
    )
    if cursor.rowcount != 1:
        raise AlreadyHandled(
            f"{entry.kind} {entry.message_id} of {entry.peer}, or inbox row {taken.seq}, is there already"
        )


def _mark(connection: sqlite3.Connection, mark: InboxMark) -> None:
    done = connection.execute(
        "UPDATE inbox SET state = ?, reason = ?, message = ?, accepted = ?, reasons = ?,"
        " kind = COALESCE(NULLIF(?, ''), kind) WHERE seq = ? AND state = 'NEW'",
        (*_outcome(mark), mark.kind, mark.seq),
    )
    if done.rowcount != 1:
        raise AlreadyHandled(f"inbox row {mark.seq} has been handled before")


def _outcome(mark: InboxMark) -> tuple[str, str, str | None, bool | None, str]:
    """The columns that say how a row ended."""
    message = None if mark.message is None else text.dump(mark.message)
    return mark.state, mark.reason, message, mark.accepted, text.dump(mark.reasons)


def _requeue(connection: sqlite3.Connection, again: Again) -> int:
    """How many answers are sent once more; an answer without a known cause counts for every row of its message."""
    return connection.execute(
        "UPDATE outbox SET state = 'PENDING', attempts = 0, first_wall = 0, next_wall = ?, reason = ''"
        " WHERE adapter = ? AND peer = ? AND answers = ? AND (cause = ? OR cause IS NULL)",
        (again.wall, again.adapter, again.peer, again.message_id, again.seq),
    ).rowcount


def _document(connection: sqlite3.Connection, document: Document) -> None:
    if document.value is None:
        connection.execute(
            "DELETE FROM documents WHERE space = ? AND kind = ? AND key = ?",
            (document.space, document.kind, document.key),
        )
    else:
        connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (document.space, document.kind, document.key, text.dump(document.value)),
        )


def _queue(connection: sqlite3.Connection, entry: OutboxEntry) -> int | None:
    """The seq of the new row; None where a message of that id was queued before."""
    cursor = connection.execute(
        "INSERT OR IGNORE INTO outbox (message_id, adapter, peer, conversation_id, kind, body, message, answers, cause,"
        " queued_at, next_wall, until_wall) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.message_id,
            entry.adapter,
            entry.peer,
            entry.conversation_id,
            entry.kind,
            entry.body,
            None if entry.message is None else text.dump(entry.message),
            entry.answers,
            entry.cause,
            stamp(entry.queued_at),
            entry.wall,
            entry.until_wall,
        ),
    )
    return cursor.lastrowid if cursor.rowcount == 1 else None


def _log(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Append events to the chain."""
    if not events:
        return
    last = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    seq, head = last or (0, chain.GENESIS)
    rows = []
    for event in events:
        seq, at, data, before = seq + 1, stamp(event.at), text.dump(dict(event.data)), head
        head = chain.link(before, seq, at, event.kind, data)
        rows.append((seq, at, event.kind, data, before, head))
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
