"""A small world around the hub: a messenger whose wire is JSON, a desk that answers and dispatches, an actuator.

Used by the unit, stateful and crash tests of the hub, and run as a program by the last.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.clock import SystemClock
from adapters.ports import (
    Delivery,
    DeliveryStatus,
    Encoded,
    History,
    Interpretation,
    Received,
)
from datamodels import (
    Acknowledgement,
    Binding,
    Dispatch,
    DispatchInterval,
    DispatchKind,
    DispatchStatus,
    DispatchUpdate,
    GridSignal,
    Head,
    OfferRevocation,
    Participant,
    Problem,
    Resource,
    ResourceKind,
    ResourceRole,
    Role,
    Telemetry,
    dumps,
    loads,
)
from interop.desk import NoHistory
from interop.effects import Effect, Instruct, Log, Put, Send
from interop.feed import Feed
from interop.hub import Hub
from interop.outbox import RetryPolicy
from interop.store import Store

US, PEER = "agr.example.org", "dso.example.org"
NOW = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)
RESOURCE = Resource(
    "bat1", "ean.1", ResourceKind.BATTERY, ResourceRole.STORAGE, -5000, 5000, Binding("wire", "tcp://bat1")
)


class StillClock:
    """A clock that stands still until it is set."""

    rate = 1.0

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        raise AssertionError("nobody should sleep on a clock that stands still")


def head(message_id: str, conversation: str = "c1", sender: str = PEER, recipient: str = US) -> Head:
    return Head(sender, recipient, message_id, conversation, NOW)


def revocation(message_id: str, conversation: str = "c1", offer: str = "o1") -> OfferRevocation:
    """A message from the peer; the simplest there is."""
    return OfferRevocation(head(message_id, conversation), offer)


def incoming(message_id: str, conversation: str = "c1", offer: str = "o1", adapter: str = "wire") -> Received:
    raw = dumps(revocation(message_id, conversation, offer)).encode()
    return Received(adapter, PEER, "FlexOfferRevocation", raw, message_id, conversation)


def outgoing(message_id: str, conversation: str = "c1", recipient: str = PEER) -> OfferRevocation:
    return OfferRevocation(head(message_id, conversation, US, recipient), "o1")


def dispatch(id: str = "d1", revision: int = 0, resource: str = "bat1", value: int = 1000) -> Dispatch:
    interval = DispatchInterval(NOW + timedelta(hours=1), timedelta(hours=20 * 365 * 24), value)
    return Dispatch(id, resource, DispatchKind.SETPOINT, (interval,), "test", revision)


class Messenger:
    """The wire is canonical JSON. `answers` scripts what becomes of tries; without a script they are delivered."""

    def __init__(self, sink: Callable[[str], None] = lambda line: None) -> None:
        self.sink = sink
        self.tried: list[bytes] = []
        self.answers: list[Delivery | Exception] = []
        self.gate: asyncio.Event | None = None

    def interpret(self, received: Received, history: History) -> Interpretation:
        message = loads(received.raw)
        bad = message.offer == "bad" if isinstance(message, OfferRevocation) else False
        if isinstance(message, OfferRevocation) and message.offer == "bug":
            raise ZeroDivisionError("a bug in the adapter")
        problems = (Problem("test.bad", "offer", "is bad", reason="Bad offer"),) if bad else ()
        return Interpretation(message, problems, kind=type(message).__name__)

    def encode(self, message: Any, recipient: Participant, history: History) -> Encoded:
        return Encoded(dumps(message).encode())

    async def deliver(self, recipient: Participant, body: bytes) -> Delivery:
        self.tried.append(body)
        self.sink(f"deliver {loads(body).head.message_id}")
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else Delivery(DeliveryStatus.DELIVERED, 200)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def delivered(self) -> list[str]:
        return [loads(body).head.message_id for body in self.tried]


class Actuator:
    """Says that it took a dispatch, then that it began. `refuse` is raised instead, where it is set."""

    def __init__(self, sink: Callable[[str], None] = lambda line: None) -> None:
        self.sink = sink
        self.applied: list[tuple[str, int]] = []
        self.withdrawn: list[str] = []
        self.refuse: Exception | None = None
        self.hub: Hub | None = None

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        self.sink(f"apply {dispatch.id} {dispatch.revision}")
        self.applied.append((dispatch.id, dispatch.revision))
        if self.refuse is not None:
            raise self.refuse
        if self.hub is not None:
            update = DispatchUpdate(dispatch.id, dispatch.revision, DispatchStatus.ACCEPTED, NOW)
            await self.hub.dispatch_update(update)

    async def withdraw(self, dispatch: str) -> None:
        self.withdrawn.append(dispatch)


class Desk:
    """Counts every message durably, answers it, and dispatches once for it. `events` is what it was told."""

    def __init__(self) -> None:
        self.history: History = NoHistory()
        self.count = 0
        self.events: list[tuple[str, Any]] = []
        self.loads = 0

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        self.count = documents.get(("counter", "n"), 0)
        self.loads += 1

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> Sequence[Effect]:
        message = interpretation.message
        assert message is not None
        self.events.append(("message", message.head.message_id))
        if isinstance(message, Acknowledgement):
            return []
        if isinstance(message, OfferRevocation) and message.offer == "crash":
            self.count += 1000
            raise KeyError("a bug in the desk")
        if interpretation.problems:
            reasons = tuple(p.reason for p in interpretation.problems)
            return [Send(self.answer(message, accepted=False, reasons=reasons))]
        self.count += 1
        return [
            Put("counter", "n", self.count),
            Send(self.answer(message)),
            Instruct(dispatch(f"d-{message.head.message_id}")),
            Log("counted", {"message": message.head.message_id}),
        ]

    @staticmethod
    def answer(message: Any, *, accepted: bool = True, reasons: tuple[str, ...] = (), id: str = "") -> Acknowledgement:
        ours = head(id or f"re-{message.head.message_id}", message.head.conversation_id, US, PEER)
        return Acknowledgement(ours, message.head.message_id, type(message).__name__, accepted, reasons)

    def on_conflict(self, received: Received, interpretation: Interpretation, now: datetime) -> Sequence[Effect]:
        message = interpretation.message
        assert message is not None
        self.events.append(("conflict", received.message_id))
        answer = self.answer(message, accepted=False, reasons=("conflict",), id=f"no-{received.message_id}")
        return [Send(answer)]

    def on_undeliverable(self, message_id: str, reason: str, now: datetime) -> Sequence[Effect]:
        self.events.append(("undeliverable", (message_id, reason)))
        return [Put("dead", message_id, reason)]

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> Sequence[Effect]:
        self.events.append(("update", (update.dispatch, update.status)))
        return []

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> Sequence[Effect]:
        self.events.append(("signal", signal.id))
        return [Put("signal", signal.id, signal)]

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        self.events.append(("telemetry", len(samples)))


class World:
    """A hub with all of it, on a data directory."""

    def __init__(self, store: Store, sink: Callable[[str], None] = lambda line: None, **more: Any) -> None:
        self.store = store
        self.clock = more.pop("clock", None) or StillClock()
        self.desk = Desk()
        self.messenger = Messenger(sink)
        self.actuator = Actuator(sink)
        self.feed = Feed()
        self.participants = {PEER: Participant(PEER, Role.DSO, "http://127.0.0.1:1/")}
        self.resources = {"bat1": RESOURCE}
        self.hub = Hub(
            store,
            self.clock,
            self.desk,
            {"wire": self.messenger},
            {"wire": self.actuator},
            self.participants,
            self.resources,
            self.feed,
            policy=more.pop("policy", RetryPolicy(first_s=0.01, longest_s=0.05, give_up_s=60.0)),
            **more,
        )
        self.actuator.hub = self.hub

    @classmethod
    async def begin(cls, folder: Path, sink: Callable[[str], None] = lambda line: None, **more: Any) -> World:
        world = cls(await Store.open(folder), sink, **more)
        await world.hub.load()
        await world.hub.state("wire")  # as the server does for every adapter before any of them listens
        return world

    async def end(self) -> None:
        await self.hub.stop(1.0)
        await self.store.close()

    async def quiet(self) -> None:
        """Wait until nothing is left to do."""
        for _ in range(1000):
            counts = await self.store.counts()
            carried = all(r.carried or r.status.is_final for r in self.hub.dispatcher.records.values())
            if not counts["inbox"]["NEW"] and not counts["outbox"]["PENDING"] and carried:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"still busy: {counts}")

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.store.events()]


async def _program(folder: Path, ids: Sequence[str]) -> None:
    """Receive messages, saying so once each is acknowledged, and stay until all is done (or we are killed)."""
    handle = os.open(folder / "sink", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    world = await World.begin(folder, lambda line: void(os.write(handle, f"{line}\n".encode())), clock=SystemClock())
    world.hub.start()
    for id in ids:
        receipt = await world.hub.receive(incoming(id))
        print(id, receipt.status, flush=True)
    await world.quiet()
    await world.end()
    print("quiet", flush=True)


def void(value: object) -> None:
    """Forget a result."""


if __name__ == "__main__":
    asyncio.run(_program(Path(sys.argv[1]), sys.argv[2:]))
