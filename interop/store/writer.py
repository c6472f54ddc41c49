"""One thread that owns the writing connection and commits whatever waits, together (group commit).

A piece of work that fails is undone alone: the group is then done again, each piece in a savepoint of its own. All of a
group become durable by one commit, and only then does any caller hear of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from interop.store.base import StoreUnavailable

__all__ = ["Writer"]

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs work on a connection, in the order in which it was submitted. Work may be run twice, the first time undone.

    Args:
        connect: opens the connection, in autocommit mode; called on the thread that will use it.
        group: most pieces of work in one transaction.
        observe: called on the thread with the size of every group that was committed.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        group: int = 256,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._connect = connect
        self._group = group
        self._observe = observe
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    async def start(self) -> None:
        """Open the connection; raises what `connect` raises."""
        self._thread.start()
        await self._opened

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction; its result, once durable. Raises what it raises, or StoreUnavailable."""
        if self._closing:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Finish what is queued, then close."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        await asyncio.shield(self._closed)

    def _run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # handed to whoever waits for the store to open
            self._tell(self._opened.set_exception, error)
            return
        self._tell(self._opened.set_result, None)
        try:
            last = False
            while not last:
                jobs, last = self._next_group()
                if jobs:
                    self._transact(connection, jobs)
                    self._tell(_resolve, jobs)
        finally:
            connection.close()
            self._tell(self._closed.set_result, None)

    def _next_group(self) -> tuple[list[_Job], bool]:
        jobs: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._group:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _transact(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            if not self._all_at_once(connection, jobs):
                for job in jobs:
                    self._attempt(connection, job)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in jobs:
                job.error = StoreUnavailable(f"the database cannot be written: {error}")
        else:
            self._observe(len(jobs))

    @staticmethod
    def _all_at_once(connection: sqlite3.Connection, jobs: list[_Job]) -> bool:
        """Do all the work without savepoints, as nearly always none fails; False, with nothing done, where one did."""
        try:
            for job in jobs:
                job.result = _own(job.work(connection))
        except Exception:  # whose it is, shows when they run one by one
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            return False
        return True

    @staticmethod
    def _attempt(connection: sqlite3.Connection, job: _Job) -> None:
        connection.execute("SAVEPOINT job")
        try:
            job.result = _own(job.work(connection))
        except Exception as error:  # belongs to the caller of this job, not to the group
            if not connection.in_transaction:
                raise sqlite3.OperationalError(f"the whole transaction was rolled back: {error}") from error
            connection.execute("ROLLBACK TO job")
            broken = isinstance(error, sqlite3.OperationalError)
            job.error = StoreUnavailable(f"the database cannot be written: {error}") if broken else error
        connection.execute("RELEASE job")

    def _tell(self, callback: Callable[[T], object], value: T) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, value)


def _own(result: Any) -> Any:
    """A cursor must not leave this thread: its end elsewhere would reset a statement that is in use here."""
    return None if isinstance(result, sqlite3.Cursor) else result


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # its caller was cancelled
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
