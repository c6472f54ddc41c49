"""A market without sockets: two aggregators, a grid operator, a common reference operator, and the post between them.

Every message goes over the wire's own form: it is encoded as UFTP, and its receiver judges it by every rule of the
adapter against its own book. The post keeps what the server's outbox keeps, the order of one party's messages inside a
conversation, and no more: whatever is under way may be delayed, overtaken, delivered twice, or lost and tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from support.market import AGR, AGR2, CRO, DSO, FIRST, P1, ROLES, Clock, context

from adapters.ports import Direction, Interpretation, Received
from adapters.uftp.check import check_payload
from adapters.uftp.codec import encode
from adapters.uftp.mapping import to_wire
from datamodels import (
    CongestionPoint,
    Contract,
    FlexOrder,
    Head,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Metering,
    Participant,
    Prognosis,
    Run,
    Settlement,
    dumps,
    loads,
)
from interop.aggregator.agreements import Agreements
from interop.aggregator.offering import refusals
from interop.aggregator.settling import verdict
from interop.commonreference.desk import CommonReferenceDesk, CommonReferenceOptions, Member, Mode
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Put, Remove, Send
from interop.market.book import Book
from interop.market.desk import MarketDesk
from interop.market.machine import Judgement, say
from interop.market.reserve import held, unused
from interop.market.settle import metered, rows

CALENDAR = MarketCalendar(isp=timedelta(hours=1))
DAYS = (date(2030, 3, 31), date(2030, 4, 1))
"""The first has 23 ISPs of an hour, the clocks go forward."""
OPENING = datetime(2030, 3, 29, 8, tzinfo=UTC)
CONTRACT = "C1"
AGGREGATORS = (AGR, AGR2)
PARTIES = (AGR, AGR2, DSO, CRO)
TERMS = MarketTerms(
    CALENDAR,
    (CongestionPoint(P1, DSO, FIRST),),
    (Contract(CONTRACT, DSO, AGR, reserved=(Run(10, 6, -50_000),), penalty_eur_per_kwh=Decimal("0.25")),),
    penalty_eur_per_kwh=Decimal("0.1"),
)
CONNECTIONS = {AGR: "E871685900000000001", AGR2: "E871685900000000002"}


class Trader(MarketDesk):
    """An aggregator's or grid operator's desk that decides nothing by itself, but judges as the real ones do."""

    async def work(self, now: datetime) -> None:
        """The test decides."""

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        match interpretation.message:
            case Settlement() as settlement:
                return Judgement(details=verdict(settlement, self.book, TERMS))
            case FlexOrder(unsolicited=True) as order:
                contract = TERMS.contract(order.contract or "")
                day = order.power.period
                reserved = contract and held(self.book, contract, CALENDAR, P1, day)
                left = reserved and unused(reserved, contract.id, Agreements.of(self.book, P1, day).orders)
                return Judgement(refusals(order, contract, left or None))
        return Judgement()


@dataclass
class Party:
    desk: MarketDesk
    clock: Clock
    documents: dict[tuple[str, str], str] = field(default_factory=dict)
    inbox: dict[tuple[str, str], tuple[bytes, list[Letter]]] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def book(self) -> Book:
        return self.desk.book

    @property
    def context(self) -> DeskContext:
        return self.desk.context

    def keep(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Put(kind, key, value):
                    self.documents[kind, key] = dumps(value)
                case Remove(kind, key):
                    self.documents.pop((kind, key), None)
                case Alarm():
                    self.alarms.append(effect)


@dataclass(frozen=True)
class Letter:
    sender: str
    recipient: str
    message_id: str
    conversation_id: str
    kind: str
    payload: bytes

    @property
    def route(self) -> tuple[str, str, str]:
        return self.sender, self.recipient, self.conversation_id


class Bazaar:
    """The parties, their clock, and the post: `routes` holds what is under way, in order per route."""

    def __init__(self) -> None:
        self.clock = Clock(OPENING)
        self.routes: dict[tuple[str, str, str], deque[Letter]] = {}
        self.count = 0
        self.parties = {domain: Party(self._desk(domain), self.clock) for domain in PARTIES}

    def _desk(self, domain: str) -> MarketDesk:
        peers = [p for p in PARTIES if p != domain]
        about = context(domain, peers, terms=TERMS, clock=self.clock)
        if domain != CRO:
            return Trader(about)
        members = tuple(Member(peer, ROLES[peer]) for peer in peers)
        return CommonReferenceDesk(about, CommonReferenceOptions(Mode.CLOSED, members))

    @property
    def now(self) -> datetime:
        return self.clock.at

    def tick(self) -> datetime:
        """Time passes with everything that is said, so that no two messages have one time stamp."""
        self.clock.at += timedelta(seconds=1)
        return self.clock.at

    def book(self, domain: str) -> Book:
        return self.parties[domain].book

    # --- the post ---------------------------------------------------------------------------

    def say(self, message: MarketMessage, also: Sequence[Effect] = ()) -> None:
        party = self.parties[message.head.sender]
        effects = [*also, *say(message)]
        party.book.apply(effects)
        party.keep(effects)
        self._post(effects)

    def _post(self, effects: Iterable[Effect]) -> list[Letter]:
        letters = []
        for effect in effects:
            if isinstance(effect, Send):
                head, payload = effect.message.head, self._encoded(effect.message)
                kind = type(effect.message).__name__
                letter = Letter(head.sender, head.recipient, head.message_id, head.conversation_id, kind, payload)
                self.routes.setdefault(letter.route, deque()).append(letter)
                letters.append(letter)
        return letters

    @staticmethod
    def _encoded(message: MarketMessage) -> bytes:
        element, _ = to_wire(message, "3.1.0", TERMS)
        return encode(element)

    def under_way(self) -> list[tuple[str, str, str]]:
        return [route for route, letters in self.routes.items() if letters]

    def deliver(self, route: tuple[str, str, str], *, answer_lost: bool = False) -> None:
        """Try to deliver the next letter of a route. Where the receiver's 200 is lost, it will be tried again."""
        letters = self.routes[route]
        self._receive(letters[0])
        if not answer_lost:
            letters.popleft()
            if not letters:
                del self.routes[route]

    def _receive(self, letter: Letter) -> None:
        party = self.parties[letter.recipient]
        known = party.inbox.get((letter.sender, letter.message_id))
        if known is not None:
            assert known[0] == letter.payload, "a message id was used again with other content"
            for answer in known[1]:  # the same bytes again
                self.routes.setdefault(answer.route, deque()).append(answer)
            return
        about = party.context
        verdict = check_payload(
            letter.payload,
            letter.sender,
            ROLES[letter.sender],
            party.desk.history,
            TERMS,
            _participants(about),
            self.now,
            about.domain,
            about.role,
        )
        interpretation = Interpretation(
            verdict.message,
            verdict.problems,
            verdict.losses,
            verdict.needs_answer,
            verdict.element["MessageID"],
            verdict.kind,
        )
        received = Received("uftp", letter.sender, letter.kind, b"", letter.message_id, letter.conversation_id)
        effects = party.desk.on_message(letter.sender, "uftp", interpretation, received, self.now)
        party.keep(effects)
        party.inbox[letter.sender, letter.message_id] = (letter.payload, self._post(effects))

    def quiet(self) -> None:
        """Deliver all that is under way, and what follows from it."""
        while self.routes:
            self.deliver(next(iter(self.routes)))

    def restart(self, domain: str) -> None:
        """A party is killed, and takes up what it made durable."""
        party = self.parties[domain]
        party.desk = self._desk(domain)
        party.desk.load({place: loads(text) for place, text in party.documents.items()})

    # --- what both sides should agree on ----------------------------------------------------

    def orders(self, domain: str, peer: str, direction: Direction) -> list[FlexOrder]:
        """Accepted orders as one side keeps them, by time of placement."""
        found = [
            r.message
            for r in self.book(domain).records()
            if isinstance(r.message, FlexOrder) and (r.peer, r.direction, r.accepted) == (peer, direction, True)
        ]
        return sorted(found, key=lambda order: (order.head.created, order.head.message_id))


def _participants(about: DeskContext) -> dict[str, Participant]:
    return dict(about.participants)


def settlement_of(book: Book, dso: str, agr: str, about: Head, day: date) -> Settlement:
    """The settlement of a day between two parties as one's own book makes it; no rows where nothing was metered."""
    traded = book.orders_between(P1, day.isoformat(), day.isoformat())
    orders = [order for order in traded if {order.head.sender, order.head.recipient} == {dso, agr}]
    prognoses = {p.head.message_id: p for p in book.messages(Prognosis) if agr in (p.head.sender, p.head.recipient)}
    newest: dict[str, Metering] = {}
    for metering in book.messages(Metering):
        if metering.period == day and metering.head.sender == agr:
            newest[metering.ean] = metering
    actual = metered(newest.values())
    settled = rows(orders, prognoses, {(P1, day): actual}, TERMS) if actual else ()
    return Settlement(about, day, day, "EUR", settled)
