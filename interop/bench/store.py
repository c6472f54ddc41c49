"""Durable transactions a second, against sqlite3 used plainly."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from interop.bench.measure import Contestant, Sample, in_turn
from interop.bench.registry import bench
from interop.bench.report import Report, Row, Scale
from interop.store import Store
from interop.store.base import Batch, Document, Event, InboxEntry, Taken

__all__ = ["store"]

_RAW = b"x" * 4000
_CALLERS = (1, 10, 100)
_PEER = "sqlite3, a commit per call"
_HOW = (
    "One transaction is what the hub writes for a message: inbox row with 4 kB of bytes, a document, an event. "
    "Ours: `Store.commit` (group commit on one writing thread, hash-chained events). Peer: the same three rows "
    "through the standard library's sqlite3, one thread and one commit per call, no chain. Both WAL, "
    "synchronous=FULL, same disk, in turn, {rounds} rounds. CPU is that of the whole process, callers included."
)


@bench("store")
async def store(scale: Scale) -> Report:
    """Hub transactions a second with 1, 10 and 100 callers, against plain sqlite3."""
    rounds = scale.pick(3, 1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gridparley-bench-") as name:
        ours = await Store.open(Path(name) / "ours")
        plain = _Plain(Path(name) / "plain.db")
        try:
            for callers in _CALLERS:
                count = scale.pick(300 if callers == 1 else 1500, 100 if callers > 1 else 20)
                contestants = {"ours": _ours(ours, callers, count), "plain": plain.contestant(callers, count)}
                taken = await in_turn(contestants, rounds)
                rows += _rows(callers, taken["ours"], taken["plain"])
        finally:
            await ours.close()
            plain.close()
    return Report("store", _HOW.format(rounds=rounds), tuple(rows))


def _rows(callers: int, ours: Sample, plain: Sample) -> list[Row]:
    case = f"{callers} caller{'s'[: callers > 1]}"
    return [
        Row(f"{case}, wall", "transactions/s", ours.per_s, plain.per_s, _PEER),
        Row(f"{case}, CPU", "µs/transaction", ours.cpu_each_s * 1e6, plain.cpu_each_s * 1e6, _PEER),
    ]


def _ours(opened: Store, callers: int, count: int) -> Contestant:
    numbers, rows = iter(range(10**9)), iter(range(opened.last_taken() + 1, 10**9))

    async def caller(run: int, times: int) -> None:
        for _ in range(times):
            number, now = f"{callers}-{next(numbers)}", datetime.now(UTC)
            digest = hashlib.sha256(_RAW).digest()
            entry = InboxEntry("bench", "peer", "Bench", _RAW, now, number, number, digest=digest)
            await opened.commit(
                Batch(
                    taken=(Taken(next(rows), entry),),
                    documents=(Document("bench", "state", number, {"caller": run}),),
                    events=(Event("bench", now, {"message": number}),),
                )
            )

    async def contestant() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(caller(n, count // callers) for n in range(callers)))
        return Sample(count // callers * callers, time.perf_counter() - wall, time.process_time() - cpu)

    return contestant


class _Plain:
    """What one writes first: a connection, a lock, a commit per call."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE inbox (id TEXT PRIMARY KEY, digest BLOB, raw BLOB, received_at TEXT);"
            "CREATE TABLE documents (key TEXT PRIMARY KEY, value TEXT);"
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, at TEXT, data TEXT);"
        )
        self._lock = threading.Lock()
        self._numbers = iter(range(10**9))

    def _call(self, caller: int, times: int) -> None:
        for _ in range(times):
            with self._lock, self._connection:
                number, now = str(next(self._numbers)), datetime.now(UTC).isoformat()
                digest = hashlib.sha256(_RAW).digest()
                self._connection.execute("INSERT INTO inbox VALUES (?, ?, ?, ?)", (number, digest, _RAW, now))
                value = json.dumps({"caller": caller})
                self._connection.execute("INSERT INTO documents VALUES (?, ?)", (number, value))
                data = json.dumps({"message": number})
                self._connection.execute("INSERT INTO events (at, data) VALUES (?, ?)", (now, data))

    def contestant(self, callers: int, count: int) -> Contestant:
        async def contestant() -> Sample:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(callers) as pool:
                wall, cpu = time.perf_counter(), time.process_time()
                calls = (loop.run_in_executor(pool, self._call, n, count // callers) for n in range(callers))
                await asyncio.gather(*calls)
                return Sample(count // callers * callers, time.perf_counter() - wall, time.process_time() - cpu)

        return contestant

    def close(self) -> None:
        self._connection.close()
