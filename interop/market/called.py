"""Calls of flexibility (`FlexRequest.call`): what was asked, what was delivered, and what is missing. Pure.

A call is measured from the grid operator's own baseline, and without money: delivered is baseline - metered, as its
profile reports it, and not less than nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from adapters.ports import Direction
from datamodels import FlexRequest, GridSignal, IspSeries, Metering
from interop.effects import Put
from interop.market.book import Book
from interop.market.settle import metered

__all__ = ["Delivery", "actual", "ceiling", "deliveries", "end", "taken_back"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stretch of a call, W per ISP; `delivered_w` is None as long as it is not metered."""

    begin: datetime
    end: datetime
    asked_w: int
    delivered_w: tuple[int, ...] | None

    @property
    def missed_w(self) -> tuple[int, ...] | None:
        """What each ISP falls short."""
        return None if self.delivered_w is None else tuple(max(self.asked_w - w, 0) for w in self.delivered_w)


def end(request: FlexRequest) -> datetime:
    """When the last ISP of a request is over."""
    return request.calendar.end(request.period, max(isp.isps[-1] for isp in request.isps))


def ceiling(request: FlexRequest) -> dict[int, int]:
    """What a call leaves, W per ISP: the baseline less what is called."""
    assert request.call is not None
    baseline = request.call.baseline
    return {k: (baseline.at(k) or 0) + isp.max_power_w for isp in request.isps for k in isp.isps}


def actual(book: Book, request: FlexRequest) -> IspSeries | None:
    """What the connections of a call were metered to do; None until the newest metering of each is there."""
    assert request.call is not None
    wanted, found = {_digits(c) for c in request.call.connections}, dict[str, Metering]()
    for record in book.records_of(Metering):
        message = record.message
        if (
            isinstance(message, Metering)
            and (record.direction, record.peer) == (Direction.OUT, request.head.sender)
            and message.period == request.period
            and record.accepted is not False
        ):
            found[_digits(message.ean)] = message
    return metered(found[ean] for ean in wanted) if wanted and wanted <= found.keys() else None


def deliveries(request: FlexRequest, actual: IspSeries | None) -> tuple[Delivery, ...]:
    """A call, stretch by stretch."""
    assert request.call is not None
    calendar, day, baseline = request.calendar, request.period, request.call.baseline
    return tuple(
        Delivery(
            calendar.start(day, isp.start),
            calendar.end(day, isp.isps[-1]),
            -isp.max_power_w,
            None if actual is None else tuple(max((baseline.at(k) or 0) - (actual.at(k) or 0), 0) for k in isp.isps),
        )
        for isp in request.isps
    )


def taken_back(book: Book, peer: str, signal: GridSignal, now: datetime) -> list[Put]:
    """The calls that end with their limit, where it is cancelled before they are over."""
    if not signal.cancelled:
        return []
    keys = (book.key(Direction.IN, peer, request.head.message_id) for request in _calls(book, peer, signal, now))
    return [put for key in keys if (put := book.with_revocation(key)) is not None]


def _calls(book: Book, peer: str, signal: GridSignal, now: datetime) -> list[FlexRequest]:
    return [
        record.message
        for record in book.records_of(FlexRequest)
        if isinstance(record.message, FlexRequest)
        and record.message.call is not None
        and (record.peer, record.message.head.conversation_id) == (peer, signal.id)
        and not record.revoked
        and now < end(record.message)
    ]


def _digits(connection: str) -> str:
    return "".join(c for c in connection if c.isdigit())
