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
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.clock import Clock
from adapters.ports import (
    Actuator,
    Change,
    Interpretation,
    Messenger,
    Receipt,
    ReceiptStatus,
    Received,
)
from datamodels import (
    Acknowledgement,
    Dispatch,
    DispatchUpdate,
    GridSignal,
    Participant,
    Resource,
    Severity,
    Telemetry,
    decode,
    encode,
)
from interop import crashpoints
from interop.desk import Desk
from interop.dispatcher import SPACE, Dispatcher
from interop.effects import Alarm, Effect, Send
from interop.feed import Feed
from interop.metrics import Metrics
from interop.outbox import DEFAULT_POLICY, Relay, RetryPolicy
from interop.security import EarlyWarning, Finding
from interop.state import AdapterState
from interop.step import MARKET, Carrier, Step
from interop.store import (
    Answer,
    Batch,
    Committed,
    Event,
    InboxEntry,
    InboxMark,
    InboxRow,
    InboxState,
    OutboxMark,
    OutboxRow,
    OutboxState,
    StorePort,
    StoreUnavailable,
)

__all__ = ["Hub"]

log = logging.getLogger(__name__)
_LONGEST_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the adapter and the desk made of an inbox row."""

    effects: Sequence[Effect]
    kind: str
    message: Any = None
    accepted: bool | None = None
    reasons: tuple[str, ...] = ()
    answer: Acknowledgement | None = None


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
        self._one_at_a_time = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._writable = True
        self._desk_failed = False
        self._processor: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.relay = Relay(store, messengers, participants, self._settle_delivery, policy, wall)
        self.dispatcher = Dispatcher(resources, actuators, self._settle_dispatch, clock.now)

    # --- life ------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what is durable. Before `start`, and before adapters or the desk start."""
        self.dispatcher.load(await self.store.documents(SPACE))
        await self._load_desk()

    async def state(self, adapter: str) -> AdapterState:
        """The durable documents of an adapter; always the same object for the same name."""
        known = self._states.get(adapter)
        return known or self._states.setdefault(adapter, await AdapterState.open(self.store, adapter))

    def start(self) -> None:
        """Begin with what was left over, then go on: inbox, outbox, dispatches."""
        self._processor = asyncio.create_task(self._run(), name="inbox")
        self._processor.add_done_callback(_report)
        self._wake.set()
        self.relay.start()
        self.dispatcher.resume()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Handle what is durable already, as far as time allows; the rest waits for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        if self._processor is not None:
            _, late = await asyncio.wait([self._processor], timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(self._processor, return_exceptions=True)
        await self.dispatcher.stop()
        await self.relay.stop(timeout_s)
        await asyncio.gather(*self._background, return_exceptions=True)

    @property
    def healthy(self) -> bool:
        """The inbox is being worked on and the last commit went through."""
        return self._writable and self._processor is not None and not self._processor.done()

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
        async with self._one_at_a_time:
            now = self._clock.now()
            step = self._step(now)
            if not step.plan.update(update, now):
                return
            step.add(self._guarded(lambda: self.desk.on_dispatch_update(update, now)))
            await self._commit(step)

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
        if not effects:
            return
        async with self._one_at_a_time:
            step = self._step(self._clock.now())
            step.add(effects)
            await self._commit(step)

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
        self._wake.set()
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
            self._wake.clear()
            try:
                rows = await self.store.unprocessed()
            except StoreUnavailable as error:
                log.error("the inbox cannot be read: %s", error)
                rows = []
                await asyncio.sleep(1.0)
            for row in rows:
                async with self._one_at_a_time:
                    await self._handle(row)
            if not rows:
                if self._stopping.is_set():
                    return
                await self._wake.wait()

    async def _handle(self, row: InboxRow) -> None:
        now, began = self._clock.now(), time.perf_counter()
        step = self._step(now, row)
        try:
            decision = self._decide(row, step, now)
            described = step.messages[f"in {row.seq}"] = _describe(row, decision, now)
            step.add(decision.effects)
        except Exception as error:  # a bug in an adapter or a desk: this row fails, the others go on
            await self._fail(row, error, now)
            return
        event = Event("message.in", now, described)
        said = decision.kind, decision.message, decision.accepted, decision.reasons
        step.marks.append(InboxMark(row.seq, InboxState.DONE, "", *said, event))
        if decision.answer is not None:
            answer = decision.answer
            step.answers.append(Answer(answer.refers_to, answer.accepted, answer.reasons))
        crashpoints.reach("before_effects_commit")
        await self._commit(step)
        verdict = {None: "none", True: "accepted", False: "rejected"}[decision.accepted]
        self.metrics.processed.labels(row.adapter, verdict).inc()
        self.metrics.process_s.observe(time.perf_counter() - began)
        if decision.accepted is False:
            self._warn(self.warning.count(row.peer, "rejected"))

    def _decide(self, row: InboxRow, step: Step, now: datetime) -> _Decision:
        """Ask the adapter what a row means and the desk what to do about it."""
        content = decode(row.content)
        received = Received(row.adapter, row.peer, row.kind, row.raw, row.message_id, row.conversation_id, content)
        if isinstance(content, GridSignal):
            if row.conflict:
                return _Decision([_conflict(row)], row.kind, row.content, False, ("same id, other content",))
            return _Decision(self.desk.on_signal(row.peer, row.adapter, content, now), row.kind, row.content)
        if isinstance(content, DispatchUpdate):
            news = not row.conflict and step.plan.update(content, now)
            effects = self.desk.on_dispatch_update(content, now) if news else ()
            return _Decision([_conflict(row)] if row.conflict else effects, row.kind, row.content)
        messenger = self._messengers.get(row.adapter)
        if messenger is None:
            return _Decision((), row.kind)
        interpretation = messenger.interpret(received, self.desk.history)
        if row.conflict:
            effects = [_conflict(row), *self.desk.on_conflict(received, interpretation, now)]
            return _judged(row, interpretation, effects, conflict=True)
        return _judged(row, interpretation, self.desk.on_message(row.peer, row.adapter, interpretation, received, now))

    async def _fail(self, row: InboxRow, error: Exception, now: datetime) -> None:
        reason = f"{type(error).__name__}: {error}"
        log.exception(
            "inbox row %d could not be handled", row.seq, extra={"peer": row.peer, "message_id": row.message_id}
        )
        step = self._step(now)
        step.marks.append(InboxMark(row.seq, InboxState.FAILED, reason))
        step.add([Alarm("hub.failed", row.peer, f"{row.kind} {row.message_id or row.seq}: {reason}")])
        self._desk_failed = True
        await self._commit(step)

    # --- what came of what left ------------------------------------------------------------------------------------

    async def _settle_delivery(self, row: OutboxRow, mark: OutboxMark) -> None:
        self.metrics.sent.labels(row.adapter, str(mark.state)).inc()
        named = {"adapter": row.adapter, "peer": row.peer, "kind": row.kind, "message_id": row.message_id}
        now = self._clock.now()
        if mark.state is not OutboxState.DEAD:
            delivered = Event("message.delivered", now, named | {"attempts": mark.attempts})
            events = (delivered,) if mark.state is OutboxState.DELIVERED else ()
            await self._durably(Batch(tries=(mark,), events=events))
            return
        async with self._one_at_a_time:
            step = self._step(now)
            step.tries.append(mark)
            step.log("message.dead", attempts=mark.attempts, reason=mark.reason, **named)
            text = f"{row.kind} {row.message_id} could not be delivered: {mark.reason}"
            step.add([Alarm("outbox.dead", row.peer, text)])
            step.add(self._guarded(lambda: self.desk.on_undeliverable(row.message_id, mark.reason, now)))
            await self._commit(step)

    async def _settle_dispatch(self, dispatch: Dispatch, failure: DispatchUpdate | None) -> None:
        if failure is not None:
            await self.do([Alarm("dispatch.failed", "", f"dispatch {dispatch.id}: {failure.reason}")])
            await self.dispatch_update(failure)
            return
        async with self._one_at_a_time:
            step = self._step(self._clock.now())
            step.plan.carried(dispatch)
            await self._commit(step)

    # --- committing ------------------------------------------------------------------------------------------------

    def _step(self, now: datetime, row: InboxRow | None = None) -> Step:
        carrier = Carrier(self._messengers, self._participants, self._wall())
        return Step(carrier, self.dispatcher.plan(), now, (row.seq, row.adapter) if row else None)

    async def _commit(self, step: Step) -> None:
        """Make a step durable, then let its effects out. The caller holds the lock."""
        batch = step.batch()
        if not batch:
            return
        committed = await self._durably(batch)
        crashpoints.reach("after_effects_commit")
        self.dispatcher.carry_out(step.plan)
        if self._desk_failed:
            await self._load_desk()
        if committed.queued:
            self.relay.wake()
        self._tell(step, committed)

    async def _durably(self, batch: Batch) -> Committed:
        """The desk has moved on already, so the step must become durable before anything else happens."""
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
            self._desk_failed = True
            return [Alarm("hub.failed", "", f"{type(error).__name__}: {error}")]

    async def _load_desk(self) -> None:
        documents = await self.store.documents(MARKET)
        self.desk.load({(d.kind, d.key): decode(d.value) for d in documents})
        self._desk_failed = False

    def _background_task(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _report(processor: asyncio.Task[None]) -> None:
    if not processor.cancelled() and (error := processor.exception()) is not None:
        log.critical("the inbox is no longer worked on", exc_info=error)


def _conflict(row: InboxRow) -> Alarm:
    text = f"{row.kind} {row.message_id} came again with other content"
    return Alarm("inbox.conflict", row.peer, text)


def _judged(
    row: InboxRow, interpretation: Interpretation, effects: Sequence[Effect], *, conflict: bool = False
) -> _Decision:
    """The verdict on a message: what we answer to it; for an answer, what the peer says in it."""
    message = interpretation.message
    errors = tuple(p.reason or p.message for p in interpretation.problems if p.severity is Severity.ERROR)
    accepted: bool | None = False if errors or conflict else None
    reasons, answer = errors, None
    if isinstance(message, Acknowledgement) and accepted is None:
        accepted, reasons, answer = message.accepted, message.reasons, message
    for effect in effects:
        if (
            isinstance(effect, Send)
            and isinstance(effect.message, Acknowledgement)
            and effect.message.refers_to == row.message_id
        ):
            accepted, reasons = effect.message.accepted, effect.message.reasons
    kind = interpretation.kind or row.kind
    return _Decision(effects, kind, None if message is None else encode(message), accepted, reasons, answer)


def _describe(row: InboxRow, decision: _Decision, now: datetime) -> dict[str, Any]:
    described: dict[str, Any] = {
        "direction": "in",
        "adapter": row.adapter,
        "peer": row.peer,
        "kind": decision.kind,
        "message_id": row.message_id,
        "conversation_id": row.conversation_id,
        "at": now.isoformat(),
        "accepted": decision.accepted,
        "reasons": list(decision.reasons),
        "signature": "ok",
    }
    return described | ({"refers_to": decision.answer.refers_to} if decision.answer else {})
