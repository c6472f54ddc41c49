"""Decisions are made one at a time, in order; those that wait together are made durable together.

What a decision sets off happens only after the commit that holds it. A decision that spoils the state it was made on
(a bug) ends its group: what was decided before it is committed, then the state is taken up again from what is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain

from interop import crashpoints
from interop.dispatcher import Record
from interop.step import Step
from interop.store import Batch, Committed, StoreError, StoreUnavailable

__all__ = ["Sequencer"]

_MOST_TOGETHER = 32


@dataclass(slots=True)
class _Job:
    decide: Callable[[Step], None]
    future: asyncio.Future[None]
    patient: bool


class Sequencer:
    """Runs decisions.

    Args:
        begin: an empty step, given the dispatch records that earlier steps of the group changed.
        commit: makes a batch durable, however often that must be tried, and calls its second argument with the first
            failure; raises StoreUnavailable only when stopping.
        let_out: called with every step once it is durable.
        take_up: brings the state back to what is durable; called after a decision set `spoiled`.
    """

    def __init__(
        self,
        begin: Callable[[dict[str, Record]], Step],
        commit: Callable[[Batch, Callable[[StoreError], None]], Awaitable[Committed]],
        let_out: Callable[[Step, Committed], None],
        take_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._begin = begin
        self._commit = commit
        self._let_out = let_out
        self._take_up = take_up
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.spoiled = False

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run(), name="decisions")
        return self._task

    async def stop(self) -> None:
        """Make the decisions that wait, then end."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self, decide: Callable[[Step], None], *, patient: bool = True) -> None:
        """Have `decide` fill a step; durable when this returns. What `decide` raises is raised here, without effect.

        Raises:
            StoreUnavailable: the server is stopping; or the disk failed and the caller is not `patient`. Writing is
                then tried on: what was decided may still become durable, but must not be relied upon.
        """
        if self._stopping or not self.running:
            raise StoreUnavailable("the server is stopping")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(decide, future, patient))
        self._wake.set()
        await future

    async def _run(self) -> None:
        try:
            while self._jobs or not self._stopping:
                self._wake.clear()
                if self._jobs:
                    await self._make_durable(self._decide())
                else:
                    await self._wake.wait()
        finally:
            _fail(self._jobs, StoreUnavailable("the server is stopping"))

    def _decide(self) -> list[tuple[_Job, Step]]:
        """Decide what waits, up to a limit, or up to a decision that spoils the state."""
        group: list[tuple[_Job, Step]] = []
        changed: dict[str, Record] = {}
        while self._jobs and len(group) < _MOST_TOGETHER and not self.spoiled:
            job = self._jobs.popleft()
            if job.future.done():  # its caller was cancelled
                continue
            step = self._begin(changed)
            try:
                job.decide(step)
            except Exception as error:  # belongs to whoever asked for the decision
                job.future.set_exception(error)
                continue
            changed |= step.plan.changed
            group.append((job, step))
        return group

    async def _make_durable(self, group: Sequence[tuple[_Job, Step]]) -> None:
        batch = _merged([step.batch() for _, step in group])
        committed = Committed()
        if batch:
            crashpoints.reach("before_effects_commit")
            try:
                committed = await self._commit(
                    batch, lambda error: _fail([job for job, _ in group if not job.patient], error)
                )
            except StoreError as error:
                _fail([job for job, _ in group], error)
                raise
            crashpoints.reach("after_effects_commit")
        for job, step in group:
            self._let_out(step, committed)
            if not job.future.done():
                job.future.set_result(None)
        if self.spoiled:
            await self._take_up()
            self.spoiled = False


def _fail(jobs: Iterable[_Job], error: StoreError) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)


def _merged(batches: Sequence[Batch]) -> Batch:
    """One batch that does what the given ones do one after the other."""
    if len(batches) == 1:
        return batches[0]
    return Batch(**{name: tuple(chain.from_iterable(getattr(batch, name) for batch in batches)) for name in _PARTS})


_PARTS = tuple(part.name for part in fields(Batch))
