"""A small world for UFTP tests: the vectors' market, a history in memory, and a hub that only remembers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.ports import (
    Change,
    Direction,
    Known,
    Ports,
    Receipt,
    ReceiptStatus,
    Received,
)
from adapters.uftp import envelope
from adapters.uftp.codec import decode
from adapters.uftp.keys import SigningKey
from adapters.uftp.mapping import to_canonical
from datamodels import (
    BaselineMethod,
    CongestionPoint,
    Contract,
    DispatchUpdate,
    FlexOrder,
    FlexRequest,
    MarketMessage,
    MarketTerms,
    Metering,
    OfferRevocation,
    Participant,
    ParticipantKey,
    Prognosis,
    Role,
    Telemetry,
)

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "uftp"
SHARED = Path(os.environ.get("GRIDPARLEY_SHARED", ROOT.parent / "shared"))

AGR, DSO, CRO, AGR2 = "agr.example.org", "dso.example.org", "cro.example.org", "agr2.example.org"
POINT = "ea1.2030-01.org.example:cp-1"
KEYS = {domain: SigningKey.from_seed(bytes([n]) * 32) for n, domain in enumerate((AGR, DSO, CRO, AGR2), 1)}
ROLES = {AGR: Role.AGR, DSO: Role.DSO, CRO: Role.CRO, AGR2: Role.AGR}
NOW = datetime(2030, 3, 1, 8, 0, tzinfo=UTC)

TERMS = MarketTerms(
    congestion_points=(CongestionPoint(POINT, DSO, date(2030, 1, 1)),),
    contracts=(Contract("C1", DSO, AGR, ("S1",), BaselineMethod.REFERENCE),),
    baseline_method=BaselineMethod.REFERENCE,
    baseline_references=("BL-1",),
)


def participants(**changes: Any) -> dict[str, Participant]:
    """The four participants by domain, each changed alike."""
    return {
        domain: replace(
            Participant(domain, ROLES[domain], f"http://127.0.0.1:9/{domain}", (ParticipantKey(key.public),)), **changes
        )
        for domain, key in KEYS.items()
    }


@dataclass
class MemoryHistory:
    """`adapters.ports.History` over a dictionary."""

    known: dict[str, Known] = field(default_factory=dict)

    def add(self, direction: Direction, message: MarketMessage, accepted: bool | None = True) -> None:
        peer = message.head.sender if direction is Direction.IN else message.head.recipient
        self.known[message.head.message_id] = Known(direction, peer, message, accepted)
        if isinstance(message, OfferRevocation) and message.offer in self.known:
            self.known[message.offer] = replace(self.known[message.offer], revoked=True)

    def replay(self, direction: str, payload: bytes, terms: MarketTerms = TERMS) -> None:
        """Remember a payload as said and accepted (responses leave no trace here)."""
        message, _ = to_canonical(decode(payload), terms.calendar)
        if message is not None and not hasattr(message, "refers_to"):
            self.add(Direction(direction), message)

    def find(self, message_id: str, direction: Direction | None = None, peer: str | None = None) -> Known | None:
        return self.known.get(message_id)

    def latest_revision(self, kind: str, peer: str, subject: str, period: str) -> int | None:
        found = [
            k.message.revision
            for k in self.known.values()
            if isinstance(k.message, Prognosis | Metering | FlexRequest)
            and k.accepted
            and (type(k.message).__name__, k.peer, *_subject(k.message)) == (kind, peer, subject, period)
        ]
        return max(found, default=None)

    def latest_created(self, kind: str, peer: str) -> datetime | None:
        heard = [k for k in self.known.values() if k.direction is Direction.IN and k.peer == peer and k.accepted]
        return max((k.message.head.created for k in heard if type(k.message).__name__ == kind), default=None)

    def order_named(self, peer: str, reference: str) -> FlexOrder | None:
        theirs = (order for order in self._orders() if order.head.sender == peer)
        return next((o for o in theirs if o.order_reference == reference), None)

    def orders(self, offer: str) -> Sequence[FlexOrder]:
        return [o for o in self._orders() if o.offer == offer]

    def orders_between(self, congestion_point: str, first: str, last: str) -> Sequence[FlexOrder]:
        return [
            o
            for o in self._orders()
            if o.congestion_point == congestion_point and first <= o.power.period.isoformat() <= last
        ]

    def _orders(self) -> list[FlexOrder]:
        return [k.message for k in self.known.values() if isinstance(k.message, FlexOrder) and k.accepted]


def _subject(message: Prognosis | Metering | FlexRequest) -> tuple[str, str]:
    if isinstance(message, Prognosis):
        return message.congestion_point, message.power.period.isoformat()
    if isinstance(message, Metering):
        return message.ean, message.period.isoformat()
    return message.head.conversation_id, message.period.isoformat()


class Clock:
    """A clock that stands still until it is set."""

    rate = 1.0

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        self.at = max(self.at, instant)


class Hub:
    """`Inbound` and `State` that remember; the same id and bytes are a duplicate, other bytes a conflict."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.refusals: list[tuple[str, str]] = []
        self.trace: list[tuple[str, str, str]] = []
        self._seen: dict[tuple[str, str | None], bytes] = {}
        self._news = asyncio.Event()

    async def receive(self, received: Received, changes: Sequence[Change] = ()) -> Receipt:
        key = (received.peer, received.message_id)
        if key in self._seen:
            same = self._seen[key] == received.raw
            return Receipt(ReceiptStatus.DUPLICATE if same else ReceiptStatus.CONFLICT)
        self._seen[key] = received.raw
        self.received.append(received)
        self._news.set()
        return Receipt(ReceiptStatus.NEW)

    def forget(self) -> None:
        self.received.clear()
        self._seen.clear()

    async def next(self, count: int, seconds: float = 10.0) -> Received:
        """The message number `count` (from 1), once it is here."""
        async with asyncio.timeout(seconds):
            while len(self.received) < count:
                self._news.clear()
                await self._news.wait()
        return self.received[count - 1]

    async def telemetry(self, samples: Sequence[Telemetry]) -> None:
        raise AssertionError("UFTP brings no telemetry")

    async def dispatch_update(self, update: DispatchUpdate) -> None:
        raise AssertionError("UFTP brings no dispatch updates")

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.refusals.append((peer, rule))

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return {}

    async def commit(self, *changes: Change) -> None:
        raise AssertionError("UFTP keeps no documents of its own")

    def tap(self, adapter: str, peer: str, direction: Direction, kind: str, raw: bytes, note: str = "") -> None:
        self.trace.append((direction.value, kind, note))


def ports(hub: Hub, known: Mapping[str, Participant], clock: Any = None, terms: MarketTerms = TERMS) -> Ports:
    return Ports(hub, hub, clock or Clock(), hub.tap, terms, known, {})


HOUR = timedelta(hours=1)


def envelope_of(domain: str, payload: bytes = b"<TestMessage/>") -> bytes:
    """A payload, signed by one of the parties."""
    return envelope.seal(payload, domain, ROLES[domain], KEYS[domain])
