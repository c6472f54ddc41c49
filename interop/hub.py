"""The hub: nothing acknowledged is lost, nothing is done twice.

Messages are taken strictly in order: the adapter interprets, the desk decides, and the message is committed in one
transaction with all that was decided on it (documents, messages to send, dispatches, events). Only after that does
`receive` return, and does anything leave. A kill at any point leads to the same end: the message was never there, or
all that follows from it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from adapters.clock import Clock
from adapters.ports import (
    Actuator,
    Change,
    Messenger,
    Receipt,
    ReceiptStatus,
    Received,
)
from datamodels import (
    Dispatch,
    DispatchUpdate,
    Participant,
    Resource,
    Telemetry,
    encode,
)
from interop.desk import Desk
from interop.dispatcher import SPACE, Dispatcher, Record
from interop.effects import Alarm, Effect
from interop.feed import Feed
from interop.inbox import give_up, settle
from interop.metrics import Metrics
from interop.outbox import DEFAULT_POLICY, Relay, RetryPolicy
from interop.security import EarlyWarning, Finding
from interop.sequencer import Sequencer
from interop.state import AdapterState
from interop.step import MARKET, Carrier, Step
from interop.store import (
    Again,
    Batch,
    Committed,
    Event,
    InboxEntry,
    InboxRow,
    OutboxMark,
    OutboxRow,
    OutboxState,
    Seen,
    StoreError,
    StorePort,
    StoreUnavailable,
)

__all__ = ["Hub"]

log = logging.getLogger(__name__)
_Identity: TypeAlias = tuple[str, str, str | None]
"""Adapter, peer and message id."""
_LONGEST_RETRY_S = 5.0


class Hub:
    """Implements `adapters.ports.Inbound`. `desk`, `messengers` and `actuators` may be filled in until `load`.

    Args:
        participants, resources: live mappings.
        wall: wall time in seconds, for retries.
    """

    def __init__(
        self,
        store: StorePort,
        clock: Clock,
        desk: Desk,
        messengers: Mapping[str, Messenger],
        actuators: Mapping[str, Actuator],
        participants: Mapping[str, Participant],
        resources: Mapping[str, Resource],
        feed: Feed,
        *,
        metrics: Metrics | None = None,
        warning: EarlyWarning | None = None,
        policy: RetryPolicy = DEFAULT_POLICY,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.desk = desk
        self.feed = feed
        self.metrics = metrics or Metrics()
        self.warning = warning or EarlyWarning()
        self._clock = clock
        self._wall = wall
        self._messengers = messengers
        self._participants = participants
        self.last_heard: dict[str, datetime] = {}
        self._states: dict[str, AdapterState] = {}
        self._sequencer = Sequencer(self._begin, self._durably, self._let_out, self._load_desk)
        self._taken = 0
        self._taking: dict[_Identity, list[Seen]] = {}
        """Rows that are decided on and not yet durable."""
        self._stopping = asyncio.Event()
        self._writable = True
        self._caught_up = asyncio.Event()
        self._leftovers: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.relay = Relay(store, messengers, participants, self._settle_delivery, policy, wall)
        self.dispatcher = Dispatcher(resources, actuators, self._settle_dispatch, clock.now)

    # --- life ------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what is durable. Before `start`, and before adapters or the desk start."""
        outdated = self.dispatcher.load(await self.store.documents(SPACE))
        if outdated:
            await self.store.commit(Batch(documents=tuple(outdated)))
        await self._load_desk()
        self._taken = self.store.last_taken()
        if not await self.store.unprocessed(1):
            self._caught_up.set()
        self._sequencer.start().add_done_callback(_report)

    async def state(self, adapter: str) -> AdapterState:
        """The durable documents of an adapter; always the same object for the same name."""
        known = self._states.get(adapter)
        return known or self._states.setdefault(adapter, await AdapterState.open(self.store, adapter))

    def start(self) -> None:
        """Begin: with what earlier versions left undecided, with what is to be sent and to be dispatched."""
        self._leftovers = asyncio.create_task(self._catch_up(), name="inbox")
        self._leftovers.add_done_callback(_report)
        self.relay.start()
        self.dispatcher.resume()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Decide what was taken in, and let tries under way finish for a while."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._leftovers is not None:
            self._leftovers.cancel()
            await asyncio.gather(self._leftovers, return_exceptions=True)
        self._caught_up.set()  # who still waits to hand something in is refused
        await self.dispatcher.stop()
        await self.relay.stop(timeout_s)
        await self._sequencer.stop()
        await asyncio.gather(*self._background, return_exceptions=True)

    @property
    def healthy(self) -> bool:
        """Messages are being decided on and sent, and the last commit went through."""
        return self._writable and self._caught_up.is_set() and self._sequencer.running and self.relay.running

    # --- Inbound ---------------------------------------------------------------------------------------------------

    async def receive(self, received: Received, changes: Sequence[Change] = ()) -> Receipt:
        began = time.perf_counter()
        if not self._caught_up.is_set():
            await self._caught_up.wait()
        if not self._writable:
            raise StoreUnavailable("the store cannot be written at present")
        state = self._states.get(received.adapter) or await self.state(received.adapter)
        status = ReceiptStatus.NEW

        def decide(step: Step) -> None:
            nonlocal status
            status = self._take(received, state, changes, step)

        await self._sequencer.run(decide, patient=False)
        self.metrics.receive_s.observe(time.perf_counter() - began)
        return Receipt(status)

    async def telemetry(self, samples: Sequence[Telemetry]) -> None:
        if not samples:
            return
        await self.store.record(samples)
        self.metrics.samples.inc(len(samples))
        for sample in samples:
            topic = f"telemetry/{sample.resource}/{sample.quantity}"
            self.feed.publish(
                topic, {"at": sample.at.isoformat(), "value": sample.value, "quality": str(sample.quality)}
            )
        try:
            self.desk.on_telemetry(samples)
        except Exception:  # a desk's bug must not stop the meter; the samples are stored
            log.exception("the desk failed on telemetry")

    async def dispatch_update(self, update: DispatchUpdate) -> None:
        def decide(step: Step) -> None:
            if step.plan.update(update, step.now):
                step.add(self._guarded(lambda: self.desk.on_dispatch_update(update, step.now)))

        await self._sequencer.run(decide)

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.metrics.refused.labels(adapter, rule).inc()
        log.info("refused by %s: %s: %s", adapter, rule, detail, extra={"peer": peer})
        self._warn(self.warning.count(peer, f"refused {rule}"))

    # --- effects ---------------------------------------------------------------------------------------------------

    async def do(self, effects: Sequence[Effect]) -> None:
        """Carry out effects of somebody's own initiative: one transaction, durable when this returns.

        Raises:
            Undeliverable: a message is addressed to nobody we know; nothing was done.
        """
        if effects:
            await self._sequencer.run(lambda step: step.add(effects))

    # --- receiving -------------------------------------------------------------------------------------------------

    def _take(self, received: Received, state: AdapterState, changes: Sequence[Change], step: Step) -> ReceiptStatus:
        """Fill a step with a received message and all that follows from it."""
        digest = hashlib.sha256(received.raw).digest()
        identity = (received.adapter, received.peer, received.message_id)
        seen = self._seen(identity)
        same = next((row for row in seen if row.digest == digest), None)
        conflict = same.conflict if same is not None else bool(seen)
        if same is not None:
            again = Again(same.seq, received.adapter, received.peer, received.message_id or "", self._wall())
            step.again.append(again)
        else:
            self._taken += 1
            step.entry = InboxEntry(
                received.adapter,
                received.peer,
                received.kind,
                received.raw,
                step.now,
                received.message_id,
                received.conversation_id,
                encode(received.content),
                digest,
            )
            if received.message_id is not None:
                self._taking.setdefault(identity, []).append(Seen(self._taken, digest, conflict))
                step.then.append(lambda: self._forget(identity))
            if not conflict:
                step.changes = state.documents(changes)
                step.then.append(lambda: state.absorb(changes))
            self._decide(_row(self._taken, step.entry, conflict, received.read), step)
        status = ReceiptStatus.CONFLICT if conflict else ReceiptStatus.NEW if same is None else ReceiptStatus.DUPLICATE
        step.then.append(lambda: self._taken_in(received, status, step.now))
        return status

    def _seen(self, identity: _Identity) -> Sequence[Seen]:
        """The rows of an identity, those that are not yet durable included."""
        adapter, peer, message_id = identity
        if message_id is None:
            return ()
        return [*self.store.seen(adapter, peer, message_id), *self._taking.get(identity, ())]

    def _forget(self, identity: _Identity) -> None:
        self._taking.pop(identity, None)

    def _taken_in(self, received: Received, status: ReceiptStatus, at: datetime) -> None:
        """A message, or that it came again, is durable."""
        peer = received.peer
        self.metrics.received.labels(received.adapter, str(status)).inc()
        self.last_heard[peer] = at
        if self.relay.heard_from(peer):
            self._background_task(self._hasten(peer))
        self._warn(self.warning.count(peer, "messages" if status is ReceiptStatus.NEW else str(status)))

    async def _hasten(self, peer: str) -> None:
        with contextlib.suppress(StoreUnavailable):  # what waits for the peer is tried at its time
            await self.store.hasten(peer, self._wall())
            self.relay.wake()

    # --- deciding --------------------------------------------------------------------------------------------------

    def _decide(self, row: InboxRow, step: Step) -> None:
        """Fill a step with all that follows from an inbox row."""
        began, accepted = time.perf_counter(), None
        step.cause = row
        try:
            accepted = settle(row, self.desk, self._messengers, step)
        except Exception as error:  # a bug in an adapter or a desk: this row fails, the others go on
            log.exception(
                "inbox row %d cannot be handled", row.seq, extra={"peer": row.peer, "message_id": row.message_id}
            )
            give_up(row, error, step)
            self._sequencer.spoiled = True
        verdict = {None: "none", True: "accepted", False: "rejected"}[accepted]
        self.metrics.processed.labels(row.adapter, verdict).inc()
        self.metrics.process_s.observe(time.perf_counter() - began)
        if accepted is False:
            step.then.append(lambda: self._warn(self.warning.count(row.peer, "rejected")))

    async def _catch_up(self) -> None:
        """Decide on rows that are in the inbox undecided, as versions before 0.1 left them when they were killed."""
        while True:
            try:
                rows = await self.store.unprocessed()
            except StoreUnavailable as error:
                log.error("the inbox cannot be read: %s", error)
                await asyncio.sleep(1.0)
                continue
            if not rows:
                self._caught_up.set()
                return
            for row in rows:
                await self._sequencer.run(partial(self._decide, row))

    # --- what came of what left ------------------------------------------------------------------------------------

    async def _settle_delivery(self, row: OutboxRow, mark: OutboxMark) -> None:
        self.metrics.sent.labels(row.adapter, str(mark.state)).inc()
        named = {"adapter": row.adapter, "peer": row.peer, "kind": row.kind, "message_id": row.message_id}
        if mark.state is not OutboxState.DEAD:
            delivered = Event("message.delivered", self._clock.now(), named | {"attempts": mark.attempts})
            events = (delivered,) if mark.state is OutboxState.DELIVERED else ()
            await self._durably(Batch(tries=(mark,), events=events))
            return

        def decide(step: Step) -> None:
            step.tries.append(mark)
            step.log("message.dead", attempts=mark.attempts, reason=mark.reason, **named)
            text = f"{row.kind} {row.message_id} could not be delivered: {mark.reason}"
            step.add([Alarm("outbox.dead", row.peer, text)])
            step.add(self._guarded(lambda: self.desk.on_undeliverable(row.message_id, mark.reason, step.now)))

        await self._sequencer.run(decide)

    async def _settle_dispatch(self, dispatch: Dispatch, failure: DispatchUpdate | None) -> None:
        if failure is not None:
            await self.do([Alarm("dispatch.failed", "", f"dispatch {dispatch.id}: {failure.reason}")])
            await self.dispatch_update(failure)
            return
        await self._sequencer.run(lambda step: step.plan.carried(dispatch))

    # --- committing ------------------------------------------------------------------------------------------------

    def _begin(self, changed: dict[str, Record]) -> Step:
        carrier = Carrier(self._messengers, self._participants, self.desk.history, self._wall(), self._clock.to_wall)
        return Step(carrier, self.dispatcher.plan(changed), self._clock.now())

    def _let_out(self, step: Step, committed: Committed) -> None:
        """A step is durable: carry it out and tell of it."""
        for follow in step.then:
            follow()
        self.dispatcher.carry_out(step.plan)
        self.relay.offer(step.outgoing(committed.queued))
        if step.again and committed.requeued:
            self.relay.wake()
        self._tell(step, committed)

    async def _durably(self, batch: Batch, on_trouble: Callable[[StoreError], None] = lambda error: None) -> Committed:
        """The desk has moved on already, so this must become durable before anything else happens. `on_trouble` is
        called with the first failure."""
        pause = 0.1
        while True:
            try:
                committed = await self.store.commit(batch)
            except StoreUnavailable as error:
                if self._stopping.is_set():
                    raise
                if self._writable:
                    log.error("cannot commit, will try until it works: %s", error)
                    self._publish_alarm(Alarm("store.unavailable", "", str(error)))
                    on_trouble(error)
                self._writable = False
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY_S)
            else:
                self._writable = True
                return committed

    def _tell(self, step: Step, committed: Committed) -> None:
        """Publish what became durable."""
        for key, message in step.messages.items():
            if message["direction"] == "in" or key in committed.queued:
                self.feed.publish("message", message)
        for event in step.plan.events:
            data = dict(event.data) | {"event": event.kind, "at": event.at.isoformat()}
            self.feed.publish("dispatch", data)
            if "status" in data:
                self.metrics.dispatches.labels(data["status"]).inc()
        for alarm in step.alarms:
            self._publish_alarm(alarm)

    def _publish_alarm(self, alarm: Alarm) -> None:
        self.metrics.alarms.labels(alarm.rule).inc()
        log.warning("alarm %s: %s", alarm.rule, alarm.message, extra={"peer": alarm.peer})
        at = self._clock.now().isoformat()
        self.feed.publish("alarm", {"rule": alarm.rule, "peer": alarm.peer, "message": alarm.message, "at": at})

    def _warn(self, finding: Finding | None) -> None:
        if finding is not None:
            alarm = Alarm("early_warning", finding.peer, f"{finding.what}: {finding.detail}")
            self._background_task(self.do([alarm]))

    def _guarded(self, decide: Callable[[], Sequence[Effect]]) -> Sequence[Effect]:
        """What a desk wants; where it fails on something that cannot fail itself, an alarm."""
        try:
            return decide()
        except Exception as error:  # a desk's bug must not keep the rest of the step from being recorded
            log.exception("the desk failed")
            self._sequencer.spoiled = True
            return [Alarm("hub.failed", "", f"{type(error).__name__}: {error}")]

    async def _load_desk(self) -> None:
        documents = await self.store.documents(MARKET)
        self.desk.load({(d.kind, d.key): d.value for d in documents})

    def _background_task(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _row(seq: int, entry: InboxEntry, conflict: bool, read: object) -> InboxRow:
    return InboxRow(
        seq,
        entry.adapter,
        entry.peer,
        entry.kind,
        entry.raw,
        entry.received_at,
        entry.message_id,
        entry.conversation_id,
        entry.content,
        conflict,
        read=read,
    )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s: nobody works on it any more", task.get_name(), exc_info=error)
