"""What the server asks of durable storage: one atomic `Batch` to write, and a few ways to read.

`StorePort` is the contract; `interop.store.Store` keeps it on SQLite. Values in documents, events and contents are
JSON-ready. Instants are UTC-aware market time, except where a name says `wall` (seconds since the epoch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from adapters.ports import Direction
from datamodels import Quantity, Telemetry

__all__ = [
    "Again",
    "AlreadyHandled",
    "Answer",
    "Batch",
    "ChainReport",
    "Committed",
    "Document",
    "Event",
    "EventRow",
    "InboxEntry",
    "InboxMark",
    "InboxRow",
    "InboxState",
    "MessageRow",
    "OutboxEntry",
    "OutboxMark",
    "OutboxRow",
    "OutboxState",
    "SchemaMismatch",
    "Seen",
    "StoreError",
    "StoreLocked",
    "StorePort",
    "StoreUnavailable",
    "Taken",
    "instant",
    "stamp",
]


class StoreError(Exception):
    """::

    StoreError
    ├── StoreUnavailable   the disk failed: nothing was written; the same batch may be tried again
    ├── StoreLocked        another process owns the data directory
    ├── SchemaMismatch     the data was written by a newer version, or a migration was altered
    └── AlreadyHandled     a batch takes or marks an inbox row that has been handled before: nothing was written
    """


class StoreUnavailable(StoreError):
    pass


class StoreLocked(StoreError):
    pass


class SchemaMismatch(StoreError):
    pass


class AlreadyHandled(StoreError):
    pass


def stamp(at: datetime) -> str:
    """An aware instant as sortable text of fixed width."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


class InboxState(StrEnum):
    NEW = "NEW"
    DONE = "DONE"
    FAILED = "FAILED"


class OutboxState(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


# --- what one transaction writes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value by (space, kind, key); `value` None deletes it."""

    space: str
    kind: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Event:
    """A line for the hash-chained log."""

    kind: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A received message. (adapter, peer, message_id) is its identity, `digest` (SHA-256 of `raw`) its content."""

    adapter: str
    peer: str
    kind: str
    raw: bytes
    received_at: datetime
    message_id: str | None = None
    conversation_id: str | None = None
    content: Any = None
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class InboxMark:
    """How an inbox row ends. `message` is its canonical form, `accepted` and `reasons` the verdict on it."""

    seq: int
    state: InboxState
    reason: str = ""
    kind: str = ""
    message: Any = None
    accepted: bool | None = None
    reasons: tuple[str, ...] = ()
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A received message as a new inbox row, and how it ended; without a `mark` it is NEW. `seq` is one that is free.
    `conflict`: one of the same identity, but other content, came before."""

    seq: int
    entry: InboxEntry
    conflict: bool = False
    mark: InboxMark | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The message of inbox row `seq` came again: the answers to it are queued once more at `wall`, byte for byte."""

    seq: int
    adapter: str
    peer: str
    message_id: str
    wall: float


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A message to send. The `message_id` is unique: a second entry of that id, and its `event`, are ignored.

    `answers` is the id of the peer's message that this one answers; `cause` the inbox row it came from. `until_wall` is
    when it is given up, because what it says has expired.
    """

    adapter: str
    peer: str
    message_id: str
    conversation_id: str
    kind: str
    body: bytes
    queued_at: datetime
    wall: float
    message: Any = None
    answers: str | None = None
    cause: int | None = None
    event: Event | None = None
    until_wall: float | None = None


@dataclass(frozen=True, slots=True)
class OutboxMark:
    """What became of a try. `next_wall` is when to try again."""

    message_id: str
    state: OutboxState
    attempts: int
    first_wall: float
    next_wall: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict of a peer on a message of ours."""

    message_id: str
    accepted: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction: all of it happens, or none."""

    taken: tuple[Taken, ...] = ()
    marks: tuple[InboxMark, ...] = ()
    documents: tuple[Document, ...] = ()
    outbox: tuple[OutboxEntry, ...] = ()
    tries: tuple[OutboxMark, ...] = ()
    answers: tuple[Answer, ...] = ()
    again: tuple[Again, ...] = ()
    events: tuple[Event, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, part.name) for part in fields(self))


@dataclass(frozen=True, slots=True)
class Committed:
    """`queued` maps the message ids of the outbox entries that were new to their rows' seq, `requeued` counts those
    that are to be sent again."""

    queued: Mapping[str, int] = field(default_factory=dict)
    requeued: int = 0


# --- what is read -------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """An inbox row of some identity."""

    seq: int
    digest: bytes
    conflict: bool


@dataclass(frozen=True, slots=True)
class InboxRow:
    """`conflict`: another message of the same id, but other content, came first. `read` is never stored: what the
    adapter made of `raw` when it came."""

    seq: int
    adapter: str
    peer: str
    kind: str
    raw: bytes
    received_at: datetime
    message_id: str | None
    conversation_id: str | None
    content: Any
    conflict: bool
    state: InboxState = InboxState.NEW
    reason: str = ""
    read: object = None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    seq: int
    adapter: str
    peer: str
    message_id: str
    conversation_id: str
    kind: str
    body: bytes
    queued_at: datetime
    attempts: int
    first_wall: float
    next_wall: float
    state: OutboxState
    reason: str
    until_wall: float | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message in either direction, as people want to see it. `state` is the inbox's or the outbox's."""

    direction: Direction
    seq: int
    adapter: str
    peer: str
    kind: str
    message_id: str | None
    conversation_id: str | None
    at: datetime
    state: str
    reason: str
    accepted: bool | None
    reasons: tuple[str, ...]
    message: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class EventRow:
    seq: int
    at: datetime
    kind: str
    data: Any
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """`head` is the last good hash: kept elsewhere, it proves later that no tail was cut off."""

    events: int
    head: str
    broken_at: int | None = None
    reason: str = ""

    @property
    def intact(self) -> bool:
        return self.broken_at is None


class StorePort(Protocol):
    """Durable storage. Writes are durable when they return; reads see every write that returned."""

    async def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction.

        Raises:
            StoreUnavailable: nothing was written.
            AlreadyHandled: a row to be taken was there, or one to be marked not NEW; nothing was written.
        """

    def seen(self, adapter: str, peer: str, message_id: str) -> Sequence[Seen]:
        """The inbox rows of an identity. A look at one index, at once, without waiting for writers.

        Raises:
            StoreUnavailable: it cannot be read.
        """

    def last_taken(self) -> int:
        """The highest seq that an inbox row ever had; 0 where there was none (StoreUnavailable as above)."""

    async def record(self, samples: Sequence[Telemetry]) -> None:
        """Keep measurements; a second value of the same resource, quantity and instant replaces the first."""

    async def prove(self) -> None:
        """Write and sync, to show that writing works (StoreUnavailable where it does not)."""

    async def unprocessed(self, limit: int = 64) -> list[InboxRow]:
        """NEW inbox rows, in order of arrival."""

    async def due(self, wall: float, limit: int = 64) -> list[OutboxRow]:
        """Messages to try now: the oldest pending one of each conversation with a peer, if its time has come."""

    async def pending(self, most: int) -> list[OutboxRow] | None:
        """Messages that are neither delivered nor dead, oldest first; None where they are more than `most`."""

    async def next_due(self) -> float | None:
        """Wall time of the next try of any conversation, or None when nothing is pending."""

    async def hasten(self, peer: str, wall: float) -> None:
        """Bring the pending messages to a peer forward to `wall`."""

    async def documents(self, space: str, kind: str | None = None) -> list[Document]:
        """Documents in the order in which each first came."""

    async def events(self, after: int = 0, limit: int = 1000, kinds: Sequence[str] = ()) -> list[EventRow]:
        """Events with seq > `after`, in order, optionally of some kinds only."""

    async def latest_events(self, limit: int = 100, kinds: Sequence[str] = ()) -> list[EventRow]:
        """The most recent events, in order, optionally of some kinds only."""

    async def messages(
        self, conversation: str | None = None, peer: str | None = None, limit: int = 200
    ) -> list[MessageRow]:
        """Messages in and out in order of time; without a conversation, the most recent ones."""

    async def message(self, message_id: str) -> list[MessageRow]:
        """Every message of that id, in either direction."""

    async def counts(self) -> dict[str, dict[str, int]]:
        """Rows of inbox and outbox by state: `{"inbox": {"NEW": 0, …}, "outbox": {…}}`."""

    async def telemetry(
        self, resource: str, quantity: Quantity, first: datetime, last: datetime, limit: int = 100_000
    ) -> list[Telemetry]:
        """Samples with first <= at < last, in order."""

    async def verify_chain(self) -> ChainReport:
        """Recompute every hash of the event log."""

    async def backup(self, directory: Path) -> None:
        """Write a consistent copy, while the server runs."""

    async def close(self) -> None: ...
