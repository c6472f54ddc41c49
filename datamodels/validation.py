"""Validation of canonical objects: every problem found, none raised.

These are the rules that hold whatever the protocol; each adapter adds its own standard's rules on the wire object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from datamodels.dispatch import Dispatch, DispatchKind
from datamodels.market import Disposition, FlexOffer, FlexOrder, FlexRequest, Prognosis
from datamodels.metering import Metering, MeteringKind
from datamodels.parties import CongestionPoint, Connection
from datamodels.problems import Problem
from datamodels.resources import Resource, ResourceRole, Storage
from datamodels.settlement import SettlementRow
from datamodels.signals import GridSignal, SignalKind

__all__ = ["validate"]


def validate(value: Any) -> list[Problem]:
    """All problems of a canonical object; an empty list for one that has none (or a class without rules)."""
    rule = _RULES.get(type(value))
    return list(rule(value)) if rule else []


def _prognosis(value: Prognosis) -> Iterator[Problem]:
    missing = [k for k, p in enumerate(value.power.power_w, 1) if p is None]
    if missing:
        yield Problem("prognosis.complete", "power", f"ISPs {_numbers(missing)} are missing")


def _request(value: FlexRequest) -> Iterator[Problem]:
    last = value.calendar.isps(value.period)
    seen: Counter[int] = Counter()
    for n, isp in enumerate(value.isps, 1):
        where = f"isps[{n}]"
        seen.update(isp.isps)
        if isp.start < 1 or isp.duration < 1 or isp.start + isp.duration - 1 > last:
            yield Problem("request.range", where, f"ISPs {isp.start}+{isp.duration} are outside 1..{last}")
        if isp.min_power_w > isp.max_power_w:
            yield Problem("request.order", where, f"minimum {isp.min_power_w} W is above {isp.max_power_w} W")
        if isp.disposition is Disposition.REQUESTED and isp.min_power_w < 0 < isp.max_power_w:
            yield Problem("request.direction", where, "a requested ISP must ask for more or for less, not both")
    twice = [k for k, count in seen.items() if count > 1]
    if twice:
        yield Problem("request.overlap", "isps", f"ISPs {_numbers(twice)} are addressed twice")
    if not value.requested:
        yield Problem("request.requested", "isps", "no ISP is requested")


def _offer(value: FlexOffer) -> Iterator[Problem]:
    if not value.options:
        yield Problem("offer.options", "options", "an offer needs at least one option")
    references = Counter(o.reference for o in value.options)
    for reference in (r for r, count in references.items() if count > 1):
        yield Problem("offer.reference", "options", f"option {reference!r} stands twice")
    for option in value.options:
        if not Decimal(0) < option.min_activation <= 1:
            yield Problem(
                "offer.activation",
                option.reference,
                f"minimum activation {option.min_activation} is not in (0, 1]",
            )
        if not option.power.isps:
            yield Problem("offer.empty", option.reference, "the option addresses no ISP")
    if value.unsolicited == (value.request is not None):
        yield Problem("offer.unsolicited", "request", "an offer refers to a request unless it is unsolicited")


def _order(value: FlexOrder) -> Iterator[Problem]:
    if not value.power.isps:
        yield Problem("order.empty", "power", "the order addresses no ISP")
    if not Decimal(0) < value.activation_factor <= 1:
        yield Problem("order.activation", "activation_factor", f"{value.activation_factor} is not in (0, 1]")
    if value.unsolicited == (value.offer is not None):
        yield Problem("order.unsolicited", "offer", "an order refers to an offer unless it is unsolicited")


def _metering(value: Metering) -> Iterator[Problem]:
    expected = value.calendar.isps(value.period)
    for profile in value.profiles:
        unit = "kW" if profile.kind is MeteringKind.POWER else "kWh"
        if profile.unit != unit:
            yield Problem("metering.unit", profile.kind, f"{profile.kind} is in {unit}, not {profile.unit}")
        if len(profile.values) != expected:
            yield Problem(
                "metering.complete",
                profile.kind,
                f"{len(profile.values)} values for a day of {expected} ISPs",
            )


def _settlement_row(value: SettlementRow) -> Iterator[Problem]:
    if value.net != value.price - value.penalty:
        yield Problem("settlement.net", value.order_reference, f"net {value.net} is not price - penalty")


def _resource(value: Resource) -> Iterator[Problem]:
    if value.p_min_w > value.p_max_w:
        yield Problem("resource.range", value.id, f"p_min {value.p_min_w} W is above p_max {value.p_max_w} W")
    if value.role is ResourceRole.PRODUCER and value.p_max_w > 0:
        yield Problem("resource.sign", value.id, "a producer's power is never above 0 W")
    if value.role is ResourceRole.CONSUMER and value.p_min_w < 0:
        yield Problem("resource.sign", value.id, "a consumer's power is never below 0 W")
    if isinstance(value.flexibility, Storage):
        store = value.flexibility
        if not 0 <= store.content_wh <= store.capacity_wh:
            yield Problem("storage.content", value.id, f"{store.content_wh} Wh in a store of {store.capacity_wh} Wh")
        for name in ("charge_efficiency", "discharge_efficiency"):
            if not 0 < getattr(store, name) <= 1:
                yield Problem("storage.efficiency", value.id, f"{name} is not in (0, 1]")


def _dispatch(value: Dispatch) -> Iterator[Problem]:
    if not value.intervals:
        yield Problem("dispatch.empty", value.id, "a dispatch needs an interval")
    for before, after in zip(value.intervals, value.intervals[1:], strict=False):
        if after.start < before.start + before.duration:
            yield Problem("dispatch.overlap", value.id, f"intervals overlap at {after.start:%Y-%m-%d %H:%M}Z")
    if value.kind in (DispatchKind.IMPORT_LIMIT, DispatchKind.EXPORT_LIMIT):
        yield from (
            Problem("dispatch.limit", value.id, f"a limit of {i.value} W is below zero")
            for i in value.intervals
            if i.value < 0
        )


def _signal(value: GridSignal) -> Iterator[Problem]:
    if not value.intervals and not value.cancelled:
        yield Problem("signal.empty", value.id, "a signal needs an interval")
    if value.priority < 0:
        yield Problem("signal.priority", value.id, "priority counts from 1; 0 is none")
    for n, interval in enumerate(value.intervals, 1):
        where = f"{value.id} intervals[{n}]"
        if interval.duration < timedelta(0):
            yield Problem("signal.duration", where, f"lasts {interval.duration}; 0 is open-ended")
        if not interval.value.is_finite():
            yield Problem("signal.value", where, f"{interval.value} is not a finite number")
        elif interval.value < 0 and value.kind in (SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT):
            yield Problem("signal.limit", where, f"a limit of {interval.value} W is below zero")
    ordered = sorted(value.intervals, key=lambda interval: interval.start)
    for before, after in pairwise(ordered):
        if after.start < before.start + before.duration or after.start == before.start:
            yield Problem("signal.overlap", value.id, f"intervals overlap at {after.start:%Y-%m-%d %H:%M}Z")


def _dates(value: CongestionPoint | Connection) -> Iterator[Problem]:
    if value.end is not None and value.end < value.start:
        yield Problem("period.order", value.address, f"ends {value.end} before it starts {value.start}")


_RULES: dict[type, Callable[[Any], Iterable[Problem]]] = {
    Prognosis: _prognosis,
    FlexRequest: _request,
    FlexOffer: _offer,
    FlexOrder: _order,
    Metering: _metering,
    SettlementRow: _settlement_row,
    Resource: _resource,
    Dispatch: _dispatch,
    GridSignal: _signal,
    CongestionPoint: _dates,
    Connection: _dates,
}


def _numbers(values: Iterable[int]) -> str:
    ordered = sorted(values)
    text = ", ".join(map(str, ordered[:8]))
    return f"{text}, … ({len(ordered)} in all)" if len(ordered) > 8 else text
