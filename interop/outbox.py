"""The outbox relay: tries each message until it is delivered, dies of a permanent refusal, or of old age.

Messages of one conversation go out in order; conversations do not wait for each other. Times here are wall time:
the peer's recovery does not follow the market's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from adapters.ports import Delivery, DeliveryStatus, Messenger
from datamodels import Participant
from interop import crashpoints
from interop.lines import Lines
from interop.store import OutboxMark, OutboxRow, OutboxState, StorePort, StoreUnavailable

__all__ = ["DEFAULT_POLICY", "Relay", "RetryPolicy", "judge"]

_LOOK_AGAIN_S = 0.5
_MOST_IN_MEMORY = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """First pause, longest pause, and the age at which a message is given up (wall seconds).

    `give_up_by_kind` holds other ages for single kinds of message, as the outbox names them.
    """

    first_s: float = 0.5
    longest_s: float = 300.0
    give_up_s: float = 4000.0
    give_up_by_kind: Mapping[str, float] = field(default_factory=dict)
    at_once: int = 32

    def lasts_s(self, kind: str) -> float:
        """How long a message of a kind is tried."""
        return self.give_up_by_kind.get(kind, self.give_up_s)

    def pause(self, attempts: int) -> float:
        """Seconds to wait after the given number of failed tries."""
        return float(min(self.first_s * 2 ** min(attempts - 1, 30), self.longest_s))


DEFAULT_POLICY = RetryPolicy()


def judge(row: OutboxRow, delivery: Delivery, wall: float, policy: RetryPolicy, jitter: float = 0.0) -> OutboxMark:
    """What becomes of a row after a try that ended at `wall`. `jitter` in 0..1 shortens the pause by up to a fifth."""
    first = row.first_wall or wall
    mark = OutboxMark(row.message_id, OutboxState.PENDING, row.attempts + 1, first, wall, _reason(delivery))
    if delivery.status is DeliveryStatus.DELIVERED:
        return replace(mark, state=OutboxState.DELIVERED)
    if delivery.status is DeliveryStatus.PERMANENT:
        return replace(mark, state=OutboxState.DEAD)
    if row.until_wall is not None and wall >= row.until_wall:
        return replace(mark, state=OutboxState.DEAD, reason=f"expired after {mark.attempts} tries: {mark.reason}")
    pause = max(policy.pause(mark.attempts) * (1 - jitter / 5), delivery.retry_after_s or 0.0)
    if wall - first >= policy.lasts_s(row.kind):
        return replace(mark, state=OutboxState.DEAD, reason=f"given up after {mark.attempts} tries: {mark.reason}")
    next_wall = wall + min(pause, policy.longest_s)
    return replace(mark, next_wall=next_wall if row.until_wall is None else min(next_wall, row.until_wall))


def _reason(delivery: Delivery) -> str:
    return " ".join(part for part in (str(delivery.code or ""), delivery.detail) if part)


class Relay:
    """Delivers what the store holds.

    Args:
        settle: makes a mark durable, with whatever a dead letter sets off.
    """

    def __init__(
        self,
        store: StorePort,
        messengers: Mapping[str, Messenger],
        participants: Mapping[str, Participant],
        settle: Callable[[OutboxRow, OutboxMark], Awaitable[None]],
        policy: RetryPolicy = DEFAULT_POLICY,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._messengers = messengers
        self._participants = participants
        self._settle = settle
        self._policy = policy
        self._wall = wall
        self._wake = asyncio.Event()
        self._lines = Lines(_MOST_IN_MEMORY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed: set[int] = set()
        """Rows that are delivered or dead, though the store does not say so yet."""
        self._since: set[int] = set()
        """Rows whose try ended since the last look into the store began: what that look says of them is old."""
        self._offered: list[OutboxRow] = []
        """Rows that became durable since then."""
        self._newest = 0
        self._look = True
        self._next: float | None = None
        self._waiting: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="outbox")

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def wake(self) -> None:
        """What the store holds has changed."""
        self._look = True
        self._wake.set()

    def offer(self, rows: Iterable[OutboxRow]) -> None:
        """Rows became durable, in this order."""
        for row in rows:
            if row.seq <= self._newest:
                continue  # it came from the store, or two steps of one commit said the same and it was the second
            self._newest = row.seq
            self._offered.append(row)
            self._lines.add(row)
        self._wake.set()

    def heard_from(self, peer: str) -> bool:
        """A peer spoke, so it is there: True (once) where messages to it were waiting for their next try."""
        if peer not in self._waiting:
            return False
        self._waiting.discard(peer)
        return True

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Try once more what is due, and let the tries under way finish for a while."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._look = True
            await self.step()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def step(self) -> float | None:
        """Begin every try whose time has come; returns the wall time of the next one."""
        if self._look or not (self._lines.complete or self._lines.due(self._wall())):
            await self._look_up()
        for row in self._lines.take(self._wall(), self._room):
            task = asyncio.create_task(self._try(row), name=f"deliver {row.message_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._lines.next_wall if self._lines.complete else self._next

    async def _look_up(self) -> None:
        """Take up what the store holds: all of it, or, where that is too much, what is due now."""
        self._look, self._offered, self._since = False, [], set()
        try:
            everything = await self._store.pending(self._lines.most)
            complete = everything is not None
            rows = everything or []
            if not complete:
                rows = await self._store.due(self._wall(), self._lines.most)
                self._next = self._wall() if rows else await self._store.next_due()
        except StoreUnavailable:
            self._look = True
            raise
        closed, held = self._closed | self._since, {row.seq for row in rows}
        self._lines.reset([row for row in rows if row.seq not in closed], complete=complete)
        if complete:
            self._newest = max([self._newest, *held])  # the store may tell of a row before whoever committed it does
            for row in self._offered:
                if row.seq not in held | closed:
                    self._lines.add(row)

    def _room(self, peer: str) -> bool:
        """Whether another try may begin: one peer that answers slowly must not hold up the others."""
        if self._lines.busy() >= self._policy.at_once:
            return False
        return self._lines.busy(peer) < max(self._policy.at_once // 4, 1)

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                due = await self.step()
            except StoreUnavailable as error:
                log.error("the outbox cannot be read: %s", error)
                due = self._wall() + 1.0
            pause = None if due is None else max(due - self._wall(), 0.0)
            if pause == 0.0 and self._tasks:
                pause = _LOOK_AGAIN_S  # that one is being tried, or waits for room; an end wakes us
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _try(self, row: OutboxRow) -> None:
        """One try, and making durable what came of it. What is delivered lets the next of its line go at once."""
        mark = await self._attempt(row)
        pending = mark.state is OutboxState.PENDING
        if not pending:
            self._closed.add(row.seq)
            self._lines.end(row)
            self._wake.set()
        try:
            await self._settle(row, mark)
        finally:
            self._closed.discard(row.seq)
            if not pending:
                self._since.add(row.seq)
            else:
                again = replace(
                    row,
                    attempts=mark.attempts,
                    first_wall=mark.first_wall,
                    next_wall=mark.next_wall,
                    reason=mark.reason,
                )
                self._lines.end(row, again)
            self._wake.set()

    async def _attempt(self, row: OutboxRow) -> OutboxMark:
        recipient, messenger = self._participants.get(row.peer), self._messengers.get(row.adapter)
        if row.until_wall is not None and self._wall() >= row.until_wall:
            delivery = Delivery(DeliveryStatus.TEMPORARY, detail="its time had passed before it could be sent")
        elif recipient is None or messenger is None:
            missing = f"no participant {row.peer}" if recipient is None else f"no adapter {row.adapter}"
            delivery = Delivery(DeliveryStatus.PERMANENT, detail=missing)
        else:
            crashpoints.reach("before_delivery")
            delivery = await self._deliver(messenger, recipient, row)
            crashpoints.reach("after_delivery_before_mark")
        mark = judge(row, delivery, self._wall(), self._policy, random.random())  # noqa: S311 - spreads load only
        if mark.state is OutboxState.PENDING:
            self._waiting.add(row.peer)
            log.info(
                "not delivered yet: %s",
                mark.reason,
                extra={"peer": row.peer, "message_id": row.message_id, "conversation_id": row.conversation_id},
            )
        else:
            self._waiting.discard(row.peer)
        return mark

    @staticmethod
    async def _deliver(messenger: Messenger, recipient: Participant, row: OutboxRow) -> Delivery:
        try:
            return await messenger.deliver(recipient, row.body)
        except Exception as error:  # an adapter's bug is not the message's fault: it is tried again, and seen
            log.exception("delivery failed", extra={"peer": row.peer, "message_id": row.message_id})
            return Delivery(DeliveryStatus.TEMPORARY, detail=f"{type(error).__name__}: {error}")
