"""One step of the hub: effects gathered into one batch, and what is to be done once that batch is durable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.ports import History, Messenger
from datamodels import Acknowledgement, Head, MarketMessage, Participant, encode
from interop.dispatcher import Plan
from interop.effects import Alarm, Effect, Forward, Instruct, Log, Put, Remove, Send, Withdraw
from interop.store import (
    Again,
    Answer,
    Batch,
    Document,
    Event,
    InboxEntry,
    InboxMark,
    InboxRow,
    OutboxEntry,
    OutboxMark,
    OutboxRow,
    OutboxState,
    Taken,
)

__all__ = ["MARKET", "Step", "Undeliverable", "wire_kind"]

MARKET = "market"
SIGNATURES: Mapping[str, str] = {"uftp": "ok"}
"""What pages say of a message's signature: only UFTP signs, and nothing unproved gets as far as here."""


class Undeliverable(ValueError):
    """A message is addressed to nobody we know, or no adapter carries it."""


def wire_kind(message: MarketMessage) -> str:
    """What a message is called in the outbox: its canonical kind, or `<kind>Response` for an answer."""
    if isinstance(message, Acknowledgement):
        return f"{message.refers_kind}Response"
    return type(message).__name__


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who carries market messages, to whom, what was said before, and at what wall time the first try is due."""

    messengers: Mapping[str, Messenger]
    participants: Mapping[str, Participant]
    history: History
    wall: float
    to_wall: Callable[[datetime], datetime]

    def encode(self, message: MarketMessage, adapter: str | None) -> tuple[str, bytes, list[str]]:
        """The adapter that sends it, its bytes, and what they could not carry.

        `adapter` is how the message came to which this is a reaction: an answer takes the same way back.
        """
        domain = message.head.recipient
        recipient = self.participants.get(domain)
        if recipient is None:
            raise Undeliverable(f"{wire_kind(message)} to {domain!r}: no such peer (gridparley peer add)")
        came = adapter if adapter in self.messengers else ""
        name = came if isinstance(message, Acknowledgement) else ""
        name = name or recipient.adapter or came or next(iter(self.messengers), "")
        if name not in self.messengers:
            text = f"{wire_kind(message)} to {domain!r}"
            raise Undeliverable(f"{text}: {name or 'no adapter'} carries no market messages")
        encoded = self.messengers[name].encode(message, recipient, self.history)
        return name, encoded.body, [f"{x.field}: {x.why}" for x in encoded.losses]


class Step:
    """Collects effects. `cause` is the inbox row they come from, where there is one. What is in `then` is called once
    the step is durable.

    Raises, from `add`:
        Undeliverable, or whatever an adapter's `encode` raises: the step must then be dropped whole.
    """

    def __init__(self, carrier: Carrier, plan: Plan, now: datetime) -> None:
        self._carrier = carrier
        self.now = now
        self.plan = plan
        self.cause: InboxRow | None = None
        self.entry: InboxEntry | None = None
        """The cause as it is written, where it is a new row."""
        self.again: list[Again] = []
        self.changes: Sequence[Document] = ()
        """What the adapter keeps of the message: kept whatever else becomes of it."""
        self.then: list[Callable[[], None]] = []
        self.clear()

    def clear(self) -> None:
        """Forget all effects that were collected."""
        self.plan.clear()
        self.alarms: list[Alarm] = []
        self.messages: dict[str, dict[str, Any]] = {}
        self.marks: list[InboxMark] = []
        self.tries: list[OutboxMark] = []
        self.answers: list[Answer] = []
        self._documents: dict[tuple[str, str], Document] = {}
        self._outbox: list[OutboxEntry] = []
        self._events: list[Event] = []

    def add(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Put(kind, key, value):
                    self._documents[kind, key] = Document(MARKET, kind, key, encode(value))
                case Remove(kind, key):
                    self._documents[kind, key] = Document(MARKET, kind, key, None)
                case Send(message, until):
                    self._send(message, until)
                case Forward(adapter, recipient, enclosed):
                    said = enclosed.message
                    kind = enclosed.kind if said is None else wire_kind(said)
                    self._queue(adapter, recipient, enclosed.head, kind, said, enclosed.body)
                case Instruct(dispatch):
                    self.plan.instruct(dispatch, self.now)
                case Withdraw(dispatch):
                    self.plan.withdraw(dispatch, self.now)
                case Log(kind, data):
                    self.log(kind, **data)
                case Alarm():
                    self.alarms.append(effect)
                    self.log("alarm", rule=effect.rule, peer=effect.peer, message=effect.message)

    def log(self, kind: str, /, **data: Any) -> None:
        self._events.append(Event(kind, self.now, encode(data)))

    def batch(self) -> Batch:
        taken, marks = tuple[Taken, ...](), tuple(self.marks)
        if self.cause is not None and self.entry is not None:
            (mark,) = marks
            taken, marks = (Taken(self.cause.seq, self.entry, self.cause.conflict, mark),), ()
        return Batch(
            taken=taken,
            marks=marks,
            documents=(*self.changes, *self._documents.values(), *self.plan.documents()),
            outbox=tuple(self._outbox),
            tries=tuple(self.tries),
            answers=tuple(self.answers),
            again=tuple(self.again),
            events=(*self._events, *self.plan.events),
        )

    def outgoing(self, queued: Mapping[str, int]) -> list[OutboxRow]:
        """The rows that the outbox got of this step, given the seq of those it took."""
        return [_row(queued[entry.message_id], entry) for entry in self._outbox if entry.message_id in queued]

    def _send(self, message: MarketMessage, until: datetime | None) -> None:
        adapter, body, losses = self._carrier.encode(message, self.cause.adapter if self.cause else None)
        self._queue(adapter, message.head.recipient, message.head, wire_kind(message), message, body, losses, until)

    def _queue(
        self,
        adapter: str,
        recipient: str,
        head: Head,
        kind: str,
        message: MarketMessage | None,
        body: bytes,
        losses: Sequence[str] = (),
        until: datetime | None = None,
    ) -> None:
        answer = message if isinstance(message, Acknowledgement) else None
        described: dict[str, Any] = {
            "direction": "out",
            "adapter": adapter,
            "peer": recipient,
            "kind": kind,
            "message_id": head.message_id,
            "conversation_id": head.conversation_id,
            "at": self.now.isoformat(),
            "signature": SIGNATURES.get(adapter, ""),
        }
        if answer is not None:
            described |= {
                "accepted": answer.accepted,
                "reasons": list(answer.reasons),
                "refers_to": answer.refers_to,
            }
        logged = described | ({"losses": list(losses)} if losses else {})
        self.messages[head.message_id] = described
        self._outbox.append(
            OutboxEntry(
                adapter,
                recipient,
                head.message_id,
                head.conversation_id,
                kind,
                body,
                self.now,
                self._carrier.wall,
                None if message is None else encode(message),
                None if answer is None else answer.refers_to,
                self.cause.seq if self.cause and answer else None,
                Event("message.out", self.now, logged),
                None if until is None else self._carrier.to_wall(until).timestamp(),
            )
        )


def _row(seq: int, entry: OutboxEntry) -> OutboxRow:
    return OutboxRow(
        seq,
        entry.adapter,
        entry.peer,
        entry.message_id,
        entry.conversation_id,
        entry.kind,
        entry.body,
        entry.queued_at,
        attempts=0,
        first_wall=0.0,
        next_wall=entry.wall,
        state=OutboxState.PENDING,
        reason="",
        until_wall=entry.until_wall,
    )
