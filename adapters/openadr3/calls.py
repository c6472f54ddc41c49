"""FLEX events as the market's book has them: requests that call what a group has agreed to. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from adapters.openadr3.model import Event
from adapters.openadr3.profiles.der import placed
from adapters.openadr3.profiles.rule import number, single_payload
from datamodels import Disposition, FlexCall, FlexRequest, Head, IspSeries, Loss, MarketCalendar, RequestIsp

__all__ = ["calls"]

_NOTICE = timedelta(days=1)
"""From the publication deadline of a FLEX event to the beginning of its window."""


def calls(
    event: Event,
    baseline_kw: Decimal,
    congestion_point: str,
    connections: Sequence[str],
    calendar: MarketCalendar,
    head: Head,
    revision: int,
) -> tuple[tuple[FlexRequest, ...], tuple[Loss, ...]]:
    """What an event (good by its profile) calls at a congestion point: a request for each local day that it touches.

    Bounds are relative to ACTIVE_BASELINE: of Requested ISPs at least FLEX less, of the adjacent hours, which are
    Available, no more. An ISP belongs to the interval that holds its beginning. A request expires, which is to say
    binds for good, at the publication deadline. `connections` are EAN18; `head` is that of the first request.
    """
    baseline_w = int(baseline_kw * 1000)
    days: dict[date, list[RequestIsp]] = defaultdict(list)
    losses: list[Loss] = []
    for interval, when in zip(event.intervals or (), placed(event), strict=True):
        called = number(single_payload(interval, "FLEX"))
        assert when is not None, "the profile was checked"
        assert called is not None, "the profile was checked"
        begin, end = when
        if calendar.start(*calendar.locate(begin)) != begin:
            losses.append(Loss(f"intervals[{interval.id}]", begin.isoformat(), "begins inside an ISP"))
        kind = Disposition.REQUESTED if called else Disposition.AVAILABLE
        flex_w = int(called * 1000)
        for day, isps in _isps(calendar, begin, end).items():
            days[day].append(RequestIsp(isps[0], len(isps), kind, -max(baseline_w, flex_w), -flex_w))
    assert event.interval_period is not None, "the profile was checked"
    assert event.interval_period.start is not None, "the profile was checked"
    window = event.interval_period.start.instant
    assert window is not None, "the profile was checked"
    group = str(next(iter(event.targets or ())))
    addresses = tuple(f"ean.{ean}" for ean in connections)
    requests = [
        FlexRequest(
            head if n == 0 else _further(head, day),
            congestion_point,
            calendar,
            day,
            revision,
            window - _NOTICE,
            tuple(isps),
            contract=group,
            service_type="FLEX",
            call=FlexCall(group, IspSeries.of(calendar, day, [baseline_w] * calendar.isps(day)), addresses),
        )
        for n, (day, isps) in enumerate(days.items())
    ]
    return tuple(requests), tuple(losses)


def _isps(calendar: MarketCalendar, begin: datetime, end: datetime) -> dict[date, list[int]]:
    """ISPs that begin in [begin, end), by local day."""
    found: dict[date, list[int]] = defaultdict(list)
    at = calendar.start(*calendar.locate(begin))
    while at < end:
        if at >= begin:
            day, isp = calendar.locate(at)
            found[day].append(isp)
        at += calendar.isp
    return found


def _further(head: Head, day: date) -> Head:
    return Head(head.sender, head.recipient, f"{head.message_id}/{day}", head.conversation_id, head.created)
