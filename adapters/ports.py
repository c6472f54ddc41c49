"""What an adapter asks of its surroundings, and what it offers to them.

The server passes implementations in; tests pass small ones; an adapter published alone could be given others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

from adapters.clock import Clock
from datamodels import (
    Dispatch,
    DispatchUpdate,
    Entry,
    FlexOrder,
    GridSignal,
    Head,
    Loss,
    MarketMessage,
    MarketTerms,
    Opt,
    Participant,
    Problem,
    Quantity,
    Resource,
    Telemetry,
    serial,
)

__all__ = [
    "Actuator",
    "Adapter",
    "AdapterStatus",
    "Change",
    "Delivery",
    "DeliveryStatus",
    "Direction",
    "Edit",
    "Enclosed",
    "Encoded",
    "History",
    "Inbound",
    "Interpretation",
    "Known",
    "Meaning",
    "Messenger",
    "Opting",
    "Ports",
    "Programmes",
    "Readings",
    "Receipt",
    "ReceiptStatus",
    "Received",
    "State",
    "Trace",
]


# --- messages in --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One document of an adapter's own durable state: `value` None deletes it. Values are JSON-ready."""

    kind: str
    key: str
    value: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a message means that says several things at once: `messages` to the market (they need no answer), a limit
    or several signals, and what could not be carried.

    It is the content of one `Received`, so that all of it is durable together, happens in one transaction, and happens
    once: what the market records is never without the limit that holds, nor the limit without its record.
    """

    messages: tuple[MarketMessage, ...] = ()
    signal: GridSignal | None = None
    losses: tuple[Loss, ...] = ()
    signals: tuple[GridSignal, ...] = ()
    """Further signals, of an event that imposes more than one."""


serial.register(Meaning)


@dataclass(frozen=True, slots=True)
class Received:
    """A message from a peer whose identity the transport has proved.

    `peer` is that identity (a domain, a venID), never an id read from the payload. `message_id` is the sender's own
    id, by which duplicates are known; None for protocols that have none. `raw` is what was received, byte for byte,
    and is kept for audit.
    """

    adapter: str
    peer: str
    kind: str
    raw: bytes
    message_id: str | None = None
    conversation_id: str | None = None
    content: GridSignal | DispatchUpdate | Meaning | None = None
    """What the message means, for protocols that answer in the same breath; UFTP leaves it to `Messenger.interpret`."""
    read: object = None
    """What the adapter has read from `raw` already: given back to `interpret` by the same process, None afterwards."""


class ReceiptStatus(StrEnum):
    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Receipt:
    """NEW: durable now. DUPLICATE: same id and bytes were taken before. CONFLICT: same id, other bytes (alarmed)."""

    status: ReceiptStatus


class Inbound(Protocol):
    """The way into the hub. When a call returns, what it was given survives a kill; acknowledge only then."""

    async def receive(self, received: Received, changes: Sequence[Change] = ()) -> Receipt:
        """Make a message durable, together with the adapter's own `changes`, in one transaction."""

    async def telemetry(self, samples: Sequence[Telemetry]) -> None:
        """Hand in measurements."""

    async def dispatch_update(self, update: DispatchUpdate) -> None:
        """Hand in news of a dispatch."""

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        """Report a message that never became one (bad bytes, bad signature, unknown sender) for log and alarm."""


class State(Protocol):
    """An adapter's own durable documents, by (kind, key)."""

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        """All documents of a kind, by key."""

    async def commit(self, *changes: Change) -> None:
        """Write documents in one transaction; durable when this returns."""


class Readings(Protocol):
    """Measurements that are stored."""

    def __call__(
        self, resource: str, quantity: Quantity, first: datetime, last: datetime
    ) -> Awaitable[Sequence[Telemetry]]:
        """Samples of a resource with first <= at < last, in order."""


# --- what was said before -----------------------------------------------------------------------------------------


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier message. `accepted` is None while it is unanswered; `revoked` concerns offers."""

    direction: Direction
    peer: str
    message: MarketMessage
    accepted: bool | None
    revoked: bool = False


class History(Protocol):
    """What was said before; read-only."""

    def find(self, message_id: str, direction: Direction | None = None, peer: str | None = None) -> Known | None:
        """The message of that id. Ids are unique per sender only: with `direction` and `peer`, the one said that way;
        else the first that was recorded, in either direction."""

    def latest_revision(self, kind: str, peer: str, subject: str, period: str) -> int | None:
        """Highest revision accepted so far of a `Prognosis`, `Metering` or `FlexRequest` (canonical kind) from a peer.

        `subject` is the congestion point or EAN (for a FlexRequest: the conversation), `period` the ISO day.
        """

    def latest_created(self, kind: str, peer: str) -> datetime | None:
        """When the newest accepted message of that canonical kind from a peer was made, by its own time stamp."""

    def order_named(self, peer: str, reference: str) -> FlexOrder | None:
        """The accepted order of a peer with that OrderReference, which is unique per DSO."""

    def orders(self, offer: str) -> Sequence[FlexOrder]:
        """Accepted orders on the offer with that message id."""

    def orders_between(self, congestion_point: str, first: str, last: str) -> Sequence[FlexOrder]:
        """Accepted orders at a congestion point for the ISO days first..last."""


# --- messages out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interpretation:
    """A received message, decoded and checked. With an ERROR among `problems` it changes no state.

    `message` is None only where the bytes cannot be mapped at all. `needs_answer` says whether the standard wants an
    Acknowledgement for it.
    """

    message: MarketMessage | None
    problems: tuple[Problem, ...] = ()
    losses: tuple[Loss, ...] = ()
    needs_answer: bool = True
    refers_to: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes ready to be sent, unchanged however often delivery is tried, and what they could not carry."""

    body: bytes
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A ready payload as bytes to be sent, and what it says: `message` is None where the model has no word for it."""

    body: bytes
    head: Head
    kind: str
    message: MarketMessage | None


class DeliveryStatus(StrEnum):
    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one try. `code` is the transport's status, `detail` says what happened."""

    status: DeliveryStatus
    code: int = 0
    detail: str = ""
    retry_after_s: float | None = None


class Messenger(Protocol):
    """An adapter that carries market messages (UFTP)."""

    def interpret(self, received: Received, history: History) -> Interpretation:
        """Decode, check against every rule, and translate. Pure: the same input gives the same answer."""

    def encode(self, message: MarketMessage, recipient: Participant, history: History) -> Encoded:
        """Translate, encode and sign for one recipient. `history` knows what the message refers to."""

    def enclose(self, payload: bytes) -> Enclosed:
        """Sign a payload that somebody else wrote, byte for byte as it stands (Rejection: it is no message)."""

    async def deliver(self, recipient: Participant, body: bytes) -> Delivery:
        """Try once to hand `body` to the recipient."""


class Actuator(Protocol):
    """An adapter that carries dispatches to resources (Modbus, OpenADR)."""

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        """Carry out a dispatch, or the new revision of one; news comes back through `Inbound.dispatch_update`.

        Applying the same revision twice has no second effect.
        """

    async def withdraw(self, dispatch: str) -> None:
        """End a dispatch before its time and give the resource back to its owner."""


@runtime_checkable
class Opting(Protocol):
    """An adapter that is a VEN of utilities, and can tell them that we do not take part."""

    async def opt_signal(self, peer: str, signal: str, opt: Opt, reason: str) -> bool:
        """Opt in to or out of what imposed a signal (by its id) on us; False where that peer imposes none of that id.
        Durable when it returns."""


# --- programmes, which several standards share ----------------------------------------------------------------------

E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Edit:
    """One object of the programme model made (`before` None), changed or removed (`after` None).

    `author` is who did it: `<adapter>/<identity>`. `seq` counts the edits once they are durable.
    """

    before: Entry | None
    after: Entry | None
    author: str
    seq: int = 0

    @property
    def kind(self) -> type[Entry]:
        return type(self.entry)

    @property
    def entry(self) -> Entry:
        """The object as it is now; of one that is removed, as it was."""
        entry = self.after or self.before
        assert entry is not None
        return entry


class Programmes(Protocol):
    """The programme model: what `datamodels.programme` describes, once for all standards, durable."""

    def get(self, kind: type[E], id: str) -> E | None:
        """The object of that kind and id."""

    def all(self, kind: type[E]) -> Mapping[str, E]:
        """All objects of a kind by id, oldest first: live, not to be changed."""

    async def write(self, edits: Sequence[Edit], changes: Sequence[Change] = ()) -> tuple[Edit, ...]:
        """Carry out all edits, with the adapter's own `changes`, in one transaction; durable when this returns.

        Returns what was done, in order, stamped with seq, revision and times: also what followed from it (a VEN takes
        its resources, opts and schedules along, an event its opts, a resource its membership in groups).

        Raises:
            Rejection: nothing was done. The rules of its problems are `programme.stale` (`before` is not, or no longer,
                what is there), `programme.name` (another object has it), `programme.reference` (something named in it
                does not exist), `programme.in_use` (a programme with events cannot be removed), `programme.cycle` (a
                group would contain itself).
        """

    @property
    def last(self) -> int:
        """The seq of the newest edit; 0 where there was none."""

    def since(self, seq: int) -> Sequence[Edit] | None:
        """All edits behind that one, in order; None where they are not kept any more and all must be looked at anew."""

    def watch(self, watcher: Callable[[Sequence[Edit]], None]) -> None:
        """Have `watcher` called with edits when they are durable, in the order of their seq."""


# --- the adapter as a whole ---------------------------------------------------------------------------------------


class Trace(Protocol):
    """The byte tap: sees every message that crosses the wire, in both directions."""

    def __call__(self, adapter: str, peer: str, direction: Direction, kind: str, raw: bytes, note: str = "") -> None:
        """Record one message. `note` is short and holds no secret."""


@dataclass(frozen=True, slots=True)
class AdapterStatus:
    """`ready` when its listeners listen; `problems` says what is wrong and how to mend it."""

    ready: bool
    listening: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)


class Adapter(Protocol):
    """What the server starts, stops and asks for its health."""

    name: str

    async def start(self) -> None:
        """Load durable state, open listeners, start clients. Raises where it cannot work as configured."""

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight, close; at most ten seconds."""

    def status(self) -> AdapterStatus: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything an adapter is given at construction."""

    inbound: Inbound
    state: State
    clock: Clock
    trace: Trace
    terms: MarketTerms
    participants: Mapping[str, Participant]
    resources: Mapping[str, Resource]
    follows: Callable[[GridSignal], bool] = lambda signal: True
    """Whether this party acts on such a signal: where it does not, its adapter says so to the utility."""
    history: Readings | None = None
    """What was measured, for adapters that report it."""
    learn: Callable[[Participant], Awaitable[Participant]] | None = None
    """Hand in what a directory says of a participant; returns it as it is known from now on: where an operator has
    said something of it, that stays. Durable when it returns, and seen in `participants`."""
    programmes: Programmes | None = None
    """None where an adapter runs without the server's programme model."""
