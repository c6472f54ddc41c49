"""What is agreed about one congestion point on one day, and what follows from it. Pure; derived from the book.

A prognosis is absolute. A request speaks of deviations from the prognosis that was newest when it came (the first one,
if it came before any), an offer and the order on it of deviations from the prognosis they name. A later prognosis holds
the orders before it, so an order goes on to bind against its own prognosis: P + (what was ordered on P), whatever was
prognosed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from adapters.ports import Direction
from datamodels import FlexOffer, FlexOrder, FlexRequest, IspSeries, OfferOption, Prognosis
from interop.market.book import Book, Record

__all__ = ["Agreements", "bounds", "revised"]

Bounds = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True)
class Agreements:
    """Messages about one congestion point and day, oldest first; what a peer refused is left out.

    `asked_of` is the baseline of each request (None while nothing is prognosed), `said` how many prognoses were sent,
    refused ones included, and `answered` whether the last of them has its answer. `calls` are requests that bind: what
    they leave is imposed as a limit, and no offer answers them.
    """

    prognoses: tuple[Prognosis, ...] = ()
    requests: tuple[FlexRequest, ...] = ()
    offers: tuple[Record, ...] = ()
    orders: tuple[FlexOrder, ...] = ()
    asked_of: tuple[Prognosis | None, ...] = ()
    said: int = 0
    answered: bool = True
    calls: tuple[FlexRequest, ...] = ()

    @classmethod
    def of(cls, book: Book, congestion_point: str, period: date) -> Agreements:
        prognoses: list[Prognosis] = []
        requests: list[FlexRequest] = []
        calls: list[FlexRequest] = []
        offers: list[Record] = []
        orders: list[FlexOrder] = []
        asked_of: list[Prognosis | None] = []
        said, answered = 0, True
        for record in book.records():
            ours, message = record.direction is Direction.OUT, record.message
            match message:
                case Prognosis() if ours and _about(message, congestion_point, message.power.period, period):
                    said, answered = max(said, message.revision), record.accepted is not None
                    if record.accepted is not False:
                        prognoses.append(message)
                case FlexRequest() if record.accepted and not ours:
                    if not _about(message, congestion_point, message.period, period):
                        continue
                    if message.call is not None:
                        calls += [] if record.revoked else [message]
                    else:
                        requests.append(message)
                        asked_of.append(prognoses[-1] if prognoses else None)
                case FlexOffer() if ours and _about(message, congestion_point, _day_of(message), period):
                    offers.append(record)
                case FlexOrder() if record.accepted and not ours:
                    if _about(message, congestion_point, message.power.period, period):
                        orders.append(message)
        first = prognoses[0] if prognoses else None
        baselines = tuple(prognosis or first for prognosis in asked_of)
        return cls(
            tuple(prognoses),
            tuple(requests),
            tuple(offers),
            tuple(orders),
            baselines,
            said,
            answered,
            tuple(calls),
        )

    @property
    def prognosis(self) -> Prognosis | None:
        """The newest one that was not refused."""
        return self.prognoses[-1] if self.prognoses else None

    def baseline(self, order: FlexOrder) -> Prognosis | None:
        """What an order deviates from: the prognosis it names, else the newest one before it."""
        if order.prognosis is not None:
            return next((p for p in self.prognoses if p.head.message_id == order.prognosis), None)
        before = [p for p in self.prognoses if p.head.created <= order.head.created]
        return before[-1] if before else self.prognosis

    def ordered_on(self, prognosis: Prognosis) -> IspSeries:
        """Sum of what was ordered as deviation from one prognosis."""
        total = IspSeries.empty(prognosis.power.calendar, prognosis.power.period)
        for order in self.orders:
            if self.baseline(order) is prognosis:
                total = total + order.power
        return total

    def foreseen(self) -> IspSeries | None:
        """What the grid operator reckons with: the newest prognosis and what was ordered on it."""
        newest = self.prognosis
        return None if newest is None else newest.power + self.ordered_on(newest)

    def offers_for(self, request: FlexRequest) -> list[Record]:
        return [
            r for r in self.offers if isinstance(r.message, FlexOffer) and r.message.request == request.head.message_id
        ]

    def supposing(self, offer: FlexOffer, option: OfferOption) -> Agreements:
        """These agreements if that option were ordered whole."""
        order = FlexOrder(
            offer.head,
            offer.congestion_point,
            "",
            option.price,
            offer.currency,
            option.power,
            prognosis=offer.prognosis,
        )
        return replace(self, orders=(*self.orders, order))


def bounds(agreed: Agreements, isps: int, limit_w: tuple[float, float]) -> Bounds:
    """Lowest and highest net power (W) per ISP that the day's agreements leave.

    Without any, `limit_w` (low and high) holds. The newest request that speaks of an ISP replaces that by its room
    around its own baseline, which must not be exceeded. Orders go before room: what was ordered on a prognosis, summed,
    moves that prognosis at least so far, in its direction. Orders on different prognoses hold together; where that
    cannot be, the later prognosis' order stands.
    """
    low, high = [limit_w[0]] * isps, [limit_w[1]] * isps
    for request, prognosis in zip(agreed.requests, agreed.asked_of, strict=True):
        if prognosis is None:
            continue
        for room in request.isps:
            for isp in room.isps:
                power = prognosis.power.at(isp) or 0
                low[isp - 1] = power + min(room.min_power_w, 0)
                high[isp - 1] = power + max(room.max_power_w, 0)
    for prognosis in agreed.prognoses:
        for isp, ordered in agreed.ordered_on(prognosis):
            obliged = (prognosis.power.at(isp) or 0) + ordered
            if ordered > 0:
                low[isp - 1] = max(low[isp - 1], obliged)
                high[isp - 1] = max(high[isp - 1], low[isp - 1])
            elif ordered < 0:
                high[isp - 1] = min(high[isp - 1], obliged)
                low[isp - 1] = min(low[isp - 1], high[isp - 1])
    return low, high


def revised(
    agreed: Agreements, expected: Sequence[int | None], begun: int, tradable: int, threshold_w: float
) -> IspSeries | None:
    """The power of the prognosis' next revision; None where the last one, with the orders on it, still says it.

    `expected` is the net power (W) per ISP as now planned. ISPs up to `begun` stay as they were prognosed, all others
    become what is expected; but only a difference of more than `threshold_w` in an ISP from `tradable` on is a reason.
    """
    newest, reckoned = agreed.prognosis, agreed.foreseen()
    if newest is None or reckoned is None:
        return None
    pairs = list(zip(expected, reckoned.power_w, strict=True))[max(tradable, begun + 1) - 1 :]
    if not any(abs((now or 0) - (then or 0)) > threshold_w for now, then in pairs):
        return None
    power = (*newest.power.power_w[:begun], *expected[begun:])
    return IspSeries(newest.power.calendar, newest.power.period, power)


def _about(message: Prognosis | FlexRequest | FlexOffer | FlexOrder, point: str, day: date, period: date) -> bool:
    return message.congestion_point == point and day == period


def _day_of(offer: FlexOffer) -> date:
    return offer.options[0].power.period
