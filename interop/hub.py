"""The hub: nothing acknowledged is lost, nothing is done twice.

A message is durable before `receive` returns. One task then takes the rows strictly in order: the adapter interprets,
the desk decides, and the decision (documents, messages to send, dispatches, events) is committed in one transaction
with the mark that the row is done. Only after that does anything leave. A kill at any point leads to the same end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

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
from interop import crashpoints
from interop.desk import Desk
from interop.dispatcher import SPACE, Dispatcher, Record
from interop.effects import Alarm, Effect
from interop.feed import Feed
from interop.inbox import give_up, settle
from interop.intake import Intake
from interop.metrics import Metrics
from interop.outbox import DEFAULT_POLICY, Relay, RetryPolicy
from interop.security import EarlyWarning, Finding
from interop.sequencer import Sequencer
from interop.state import AdapterState
from interop.step import MARKET, Carrier, Step
from interop.store import (
    Batch,
    Committed,
    Event,
    InboxEntry,
    InboxRow,
    OutboxMark,
    OutboxRow,
    OutboxState,
    StorePort,
    StoreUnavailable,
)

__all__ = ["Hub"]

log = logging.getLogger(__name__)
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
        self._intake = Intake(store)
        self._stopping = asyncio.Event()
        self._writable = True
        self._processor: asyncio.Task[None] | None = None
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
        self._sequencer.start().add_done_callback(_report)

    async def state(self, adapter: str) -> AdapterState:
        """The durable documents of an adapter; always the same object for the same name."""
        known = self._states.get(adapter)
        return known or self._states.setdefault(adapter, await AdapterState.open(self.store, adapter))

    def start(self) -> None:
        """Begin with what was left over, then go on: inbox, outbox, dispatches."""
        self._processor = asyncio.create_task(self._run(), name="inbox")
        self._processor.add_done_callback(_report)
        self.relay.start()
        self.dispatcher.resume()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Handle what is durable already, as far as time allows; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._intake.wake()
        if self._processor is not None:
            _, late = await asyncio.wait([self._processor], timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(self._processor, return_exceptions=True)
        await self.dispatcher.stop()
        await self.relay.stop(timeout_s)
        await self._sequencer.stop()
        await asyncio.gather(*self._background, return_exceptions=True)

    @property
    def healthy(self) -> bool:
        """Inbox and outbox are being worked on and the last commit went through."""
        working = self._processor is not None and not self._processor.done()
        return self._writable and working and self._sequencer.running and self.relay.running

    # --- Inbound ---------------------------------------------------------------------------------------------------

    async def receive(self, received: Received, changes: Sequence[Change] = ()) -> Receipt:
        # A caller whose client hangs up must not keep a durable message from being noticed.
        return await asyncio.shield(self._background_task(self._receive(received, changes)))

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

    async def _receive(self, received: Received, changes: Sequence[Change]) -> Receipt:
        began = time.perf_counter()
        state = await self.state(received.adapter)
        entry = InboxEntry(
            received.adapter,
            received.peer,
            received.kind,
            received.raw,
            self._clock.now(),
            received.message_id,
            received.conversation_id,
            encode(received.content),
        )
        committed = await self.store.commit(Batch(entry, documents=state.documents(changes), wall=self._wall()))
        assert committed.receipt is not None
        crashpoints.reach("after_inbox_commit")
        if committed.receipt is ReceiptStatus.NEW:
            state.absorb(changes)
        self.metrics.received.labels(received.adapter, str(committed.receipt)).inc()
        self.metrics.receive_s.observe(time.perf_counter() - began)
        if committed.stored:
            conflict = committed.receipt is ReceiptStatus.CONFLICT
            self._intake.put(_row(committed.seq, entry, conflict, received.read))
        if committed.requeued:
            self.relay.wake()
        if self.relay.heard_from(received.peer):
            await self.store.hasten(received.peer, self._wall())
            self.relay.wake()
        self.last_heard[received.peer] = entry.received_at
        what = "messages" if committed.receipt is ReceiptStatus.NEW else str(committed.receipt)
        self._warn(self.warning.count(received.peer, what))
        return Receipt(committed.receipt)

    # --- handling --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                rows = await self._intake.take()
            except StoreUnavailable as error:
                log.error("the inbox cannot be read: %s", error)
                await asyncio.sleep(1.0)
                continue
            await asyncio.gather(*(self._handle(row) for row in rows))
            if not rows:
                if self._stopping.is_set():
                    return
                await self._intake.wait()

    async def _handle(self, row: InboxRow) -> None:
        began, accepted = time.perf_counter(), None

        def decide(step: Step) -> None:
            nonlocal accepted
            try:
                accepted = settle(row, self.desk, self._messengers, step)
            except Exception as error:  # a bug in an adapter or a desk: this row fails, the others go on
                log.exception(
                    "inbox row %d cannot be handled", row.seq, extra={"peer": row.peer, "message_id": row.message_id}
                )
                give_up(row, error, step)
                self._sequencer.spoiled = True

        await self._sequencer.run(decide, (row.seq, row.adapter))
        verdict = {None: "none", True: "accepted", False: "rejected"}[accepted]
        self.metrics.processed.labels(row.adapter, verdict).inc()
        self.metrics.process_s.observe(time.perf_counter() - began)
        if accepted is False:
            self._warn(self.warning.count(row.peer, "rejected"))

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

    def _begin(self, cause: tuple[int, str] | None, changed: dict[str, Record]) -> Step:
        carrier = Carrier(self._messengers, self._participants, self.desk.history, self._wall(), self._clock.to_wall)
        return Step(carrier, self.dispatcher.plan(changed), self._clock.now(), cause)

    def _let_out(self, step: Step, committed: Committed) -> None:
        """A step is durable: carry it out and tell of it."""
        self.dispatcher.carry_out(step.plan)
        self.relay.offer(step.outgoing(committed.queued))
        self._tell(step, committed)

    async def _durably(self, batch: Batch) -> Committed:
        """The desk has moved on already, so this must become durable before anything else happens."""
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
