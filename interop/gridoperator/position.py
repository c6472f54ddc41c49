"""Where a day at a congestion point stands: what aggregators expect, and what was ordered on top of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adapters.ports import Direction
from datamodels import FlexOrder, IspSeries, MarketCalendar, Prognosis, settle_order
from interop.gridoperator.options import Operator
from interop.gridoperator.represented import Represented, represented
from interop.market.book import Book
from interop.market.ids import derived_id

__all__ = ["Position", "gate", "placed", "positions", "reflects", "validated"]


@dataclass(frozen=True, slots=True)
class Position:
    """One day at one congestion point.

    Attributes:
        prognoses: the newest accepted one of each awaited aggregator.
        ordered: per aggregator, orders (not refused) that its prognosis does not contain yet.
        who: who is awaited and represents what.
    """

    point: str
    day: date
    prognoses: Mapping[str, Prognosis]
    ordered: Mapping[str, tuple[FlexOrder, ...]]
    who: Represented

    @property
    def missing(self) -> frozenset[str]:
        return self.who.aggregators - self.prognoses.keys()

    @property
    def key(self) -> str:
        """Changes with every new prognosis."""
        return derived_id("position", self.point, self.day, *sorted(p.head.message_id for p in self.prognoses.values()))

    @property
    def state(self) -> str:
        """Changes with every new prognosis and with every order, placed or refused."""
        orders = sorted(o.head.message_id for orders in self.ordered.values() for o in orders)
        return derived_id(self.key, *orders, "without", *sorted(self.missing))

    @property
    def net(self) -> IspSeries:
        """What is expected of all aggregators together, flexibility ordered included."""
        first, *more = [p.power for p in self.prognoses.values()]
        for power in more:
            first = first + power
        for orders in self.ordered.values():
            for order in orders:
                first = first + order.power
        return first

    def ordered_on(self, agr: str) -> IspSeries:
        """What was ordered of an aggregator as deviation from its newest prognosis, summed."""
        prognosis = self.prognoses[agr]
        total = IspSeries.empty(prognosis.power.calendar, self.day)
        for order in self.ordered.get(agr, ()):
            if order.prognosis == prognosis.head.message_id:
                total = total + order.power
        return total

    @property
    def represented(self) -> frozenset[str] | None:
        """Connections whose power is inside the prognoses that are there; None where that is not known of all."""
        if not self.prognoses.keys() <= self.who.connections.keys():
            return None
        return frozenset[str]().union(*(self.who.connections[agr] for agr in self.prognoses))

    def is_ready(self, calendar: MarketCalendar, now: datetime) -> bool:
        """Whether there is no one left to wait for: all prognoses have come, or the gate has passed."""
        everyone = self.who.is_known and not self.missing
        return bool(self.prognoses) and (everyone or now >= gate(calendar, self.day))


def gate(calendar: MarketCalendar, day: date) -> datetime:
    """When day-ahead trade for a day closes."""
    return datetime.combine(day - timedelta(days=1), calendar.day_ahead_gate, calendar.zone)


def positions(operator: Operator, book: Book, now: datetime) -> list[Position]:
    """Every day that is not over, at every congestion point, for which an awaited aggregator has prognosed."""
    calendar = operator.terms.calendar
    newest: dict[tuple[str, date], dict[str, Prognosis]] = {}
    for prognosis in book.messages(Prognosis, direction=Direction.IN, accepted=True):
        if calendar.day_span(prognosis.power.period)[1] > now:
            there = newest.setdefault((prognosis.congestion_point, prognosis.power.period), {})
            there[prognosis.head.sender] = prognosis
    found = []
    for (point, day), prognoses in newest.items():
        who = represented(operator, book, point, day)
        mine = {agr: prognoses[agr] for agr in sorted(prognoses.keys() & who.aggregators)}
        orders = placed(book, point, day)
        ordered = {agr: tuple(o for o in orders if _is_on_top(o, prognosis)) for agr, prognosis in mine.items()}
        if mine:
            found.append(Position(point, day, mine, {agr: o for agr, o in ordered.items() if o}, who))
    return found


def placed(book: Book, point: str, day: date) -> list[FlexOrder]:
    """Our orders for a day at a congestion point that are not refused, in the order in which they were placed."""
    return [
        record.message
        for record in book.records()
        if record.direction is Direction.OUT and record.accepted is not False
        if isinstance(record.message, FlexOrder)
        if (record.message.congestion_point, record.message.power.period) == (point, day)
    ]


def _is_on_top(order: FlexOrder, prognosis: Prognosis) -> bool:
    """A prognosis contains what was ordered before it was made, and nothing of what was ordered on it."""
    if order.head.recipient != prognosis.head.sender:
        return False
    return order.prognosis == prognosis.head.message_id or order.head.created > prognosis.head.created


def validated(book: Book, prognosis: Prognosis) -> tuple[tuple[str, str], ...]:
    """FlexOrderStatus for the answer to a prognosis (UFTP 3.7): whether it contains what we ordered before."""
    found = []
    for order in placed(book, prognosis.congestion_point, prognosis.power.period):
        record, earlier = book.record(order.head.message_id), book.record(order.prognosis or "")
        is_accepted = record is not None and record.accepted and record.peer == prognosis.head.sender
        if is_accepted and earlier is not None and isinstance(earlier.message, Prognosis):
            before = _before(order, placed(book, order.congestion_point, order.power.period))
            status = "validated" if reflects(prognosis, order, earlier.message, before) else "not validated"
            found.append((order.head.message_id, status))
    return tuple(found)


def reflects(newer: Prognosis, order: FlexOrder, baseline: Prognosis, before: Iterable[FlexOrder] = ()) -> bool:
    """Whether a prognosis leaves nothing of an order undelivered, by the arithmetic that settles it."""
    row = settle_order(
        order.order_reference,
        order.congestion_point,
        order.power,
        baseline.power,
        newer.power,
        order.price,
        already=[earlier.power for earlier in before],
    )
    return all(isp.deficiency_w == 0 for isp in row.isps)


def _before(order: FlexOrder, orders: Iterable[FlexOrder]) -> list[FlexOrder]:
    """Orders on the same prognosis that were placed before this one."""
    earlier = []
    for other in orders:
        if other.head.message_id == order.head.message_id:
            break
        if other.prognosis == order.prognosis:
            earlier.append(other)
    return earlier
