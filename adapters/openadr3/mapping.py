"""OpenADR 3 and canonical objects. Pure; what the other side cannot carry is returned as `Loss`.

A FLEX event lowers an absolute ceiling (ACTIVE_BASELINE - FLEX), whatever the service provider itself expected, and has
neither price nor answer but an ACK. So it is two things at once: a `GridSignal` IMPORT_LIMIT, which is planned for and
held, and for the market's book a `FlexRequest` with a `FlexCall` (`calls`), which binds and is answered by no offer. It
is no order: an order is measured from the aggregator's own prognosis and would move another ceiling. The way out, from
a `FlexOrder` to a FLEX event, exists for orders whose baseline is the group's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import TypeAlias

from adapters.openadr3.lexical import instant, span
from adapters.openadr3.model import (
    Event,
    EventPayloadDescriptor,
    Interval,
    IntervalPeriod,
    Report,
    ReportDescriptor,
    ReportResource,
    ValuesMap,
)
from adapters.openadr3.profiles.der import ADJACENT_HOUR, DISPATCHES, placed
from adapters.openadr3.profiles.der_reports import AGGREGATED, QUARTER
from adapters.openadr3.profiles.gac import LIMIT
from adapters.openadr3.profiles.rule import number, single_payload
from adapters.openadr3.timeline import expand
from datamodels import FlexOffer, FlexOrder, GridSignal, Loss, SignalInterval, SignalKind, SignalTarget

__all__ = [
    "Power",
    "acknowledgement",
    "ceiling_of_flex",
    "delivered",
    "delivery_report",
    "flex_delta",
    "flex_event",
    "limit_of_gac",
    "mean_of",
]

_KW = Decimal("0.01")
_HORIZON = timedelta(days=366)
_NAMESPACE = uuid.UUID("0c9b5f0e-9a7e-5a52-8f8c-1c3f0c6b9a77")

Power: TypeAlias = Callable[[datetime, datetime], float | None]
"""Mean power in W between two instants; None where it is not known."""


# --- events to limits ---------------------------------------------------------------------------------------------


def ceiling_of_flex(
    event: Event, baseline_kw: Decimal, source: str, targets: Sequence[SignalTarget]
) -> tuple[GridSignal, tuple[Loss, ...]]:
    """The limit that a FLEX event (good by its profile) puts on its group: baseline - FLEX in every interval, also in
    the adjacent hours, where FLEX is 0."""
    intervals: list[SignalInterval] = []
    losses: list[Loss] = []
    for interval, when in zip(event.intervals or (), placed(event), strict=True):
        called = number(single_payload(interval, "FLEX"))
        assert when is not None, "the profile was checked"
        assert called is not None, "the profile was checked"
        watts = _watts(baseline_kw - called)
        if watts < 0:
            why = "a limit of import cannot ask for export"
            losses.append(Loss(f"intervals[{interval.id}]", f"{baseline_kw - called} kW", why))
        intervals.append(SignalInterval(when[0], when[1] - when[0], max(watts, Decimal(0))))
    return _limit(event, source, intervals, targets), tuple(losses)


def limit_of_gac(
    event: Event, now: datetime, source: str, targets: Sequence[SignalTarget]
) -> tuple[GridSignal, tuple[Loss, ...]]:
    """The limit of a GAC event (good by its edition), for a year ahead. Open-ended intervals stay so."""
    intervals: list[SignalInterval] = []
    losses: list[Loss] = []
    for row in expand(event, now):
        value = number(row.value)
        if row.payload_type != LIMIT or value is None:
            continue
        if row.start < now + _HORIZON:
            length = row.end - row.start if row.end else timedelta(0)
            intervals.append(SignalInterval(row.start, length, _watts(value)))
        elif not losses:
            losses.append(Loss("intervals", instant(row.start), "limits are laid out for a year ahead"))
    losses += [
        Loss("randomizeStart", str(period.randomize_start), "limits begin when they are said to begin")
        for period in (event.interval_period, *(i.interval_period for i in event.intervals or ()))
        if period is not None and period.randomize_start not in (None, "PT0S")
    ]
    return _limit(event, source, intervals, targets), tuple(losses)


def _limit(
    event: Event, source: str, intervals: Iterable[SignalInterval], targets: Sequence[SignalTarget]
) -> GridSignal:
    assert event.id is not None, "an event of a VTN has an id"
    return GridSignal(event.id, source, SignalKind.IMPORT_LIMIT, tuple(intervals), tuple(targets))


# --- reports ------------------------------------------------------------------------------------------------------


def acknowledgement(event: Event, ven_name: str) -> Report:
    """An event arrived (DER profile, ACK)."""
    return _report(event, ven_name, "ACK", [Interval(id=0, payloads=(ValuesMap(type="ACK", values=(True,)),))])


def delivered(event: Event, baseline_kw: Decimal, power: Power) -> list[tuple[Decimal, ...]] | None:
    """kW delivered per quarter-hour of each interval: baseline - power, and 0 where more than the baseline was used.

    None while a quarter-hour is not known.
    """
    out: list[tuple[Decimal, ...]] = []
    for when in placed(event):
        assert when is not None, "the profile was checked"
        begin, end = when
        quarters = [power(begin + n * QUARTER, begin + (n + 1) * QUARTER) for n in range((end - begin) // QUARTER)]
        known = [watts for watts in quarters if watts is not None]
        if len(known) < len(quarters):
            return None
        out.append(tuple(max(_kilowatts(baseline_kw * 1000 - Decimal(str(watts))), Decimal(0)) for watts in known))
    return out


def delivery_report(event: Event, ven_name: str, values: Sequence[Sequence[Decimal]]) -> Report:
    """What was delivered against a FLEX event, in its own intervals (DER profile, DELIVERED_FLEX)."""
    intervals = [
        Interval(
            id=asked.id,
            interval_period=asked.interval_period,
            payloads=(ValuesMap(type="DELIVERED_FLEX", values=tuple(given)),),
        )
        for asked, given in zip(event.intervals or (), values, strict=True)
    ]
    return _report(event, ven_name, "DELIVERED_FLEX", intervals)


def flex_delta(baseline: Event, ven_name: str, offer: FlexOffer) -> tuple[Report, tuple[Loss, ...]]:
    """An offer as the flex delta of its group: of its first option, the reduction that every lowered ISP can hold. A
    price, further options, a minimum activation and an expiry have no place there."""
    option = offer.options[0]
    watts = [power for _, power in option.power if power < 0]
    deepest = Decimal(max(watts)) if watts else Decimal(0)
    losses = [
        Loss("price", f"{option.price} {offer.currency}", "the DER profile knows no price"),
        Loss("expires", offer.expires.isoformat(), "a flex delta holds until the next one"),
    ]
    losses += [Loss("option", o.reference, "a flex delta is one value") for o in offer.options[1:]]
    if len(set(watts)) > 1 or any(power > 0 for _, power in option.power):
        losses.append(Loss("power", option.reference, "a flex delta is one value for all hours"))
    if option.min_activation != 1:
        losses.append(Loss("min_activation", str(option.min_activation), "any part of a flex delta may be called"))
    values = {"ACTIVE_FLEX_DELTA": _kilowatts(deepest), "RESERVED_FLEX_DELTA": Decimal(0)}
    payloads = tuple(ValuesMap(type=type, values=(value,)) for type, value in values.items())
    name = f"FLEX_DELTA-{offer.head.message_id}"
    return _report(baseline, ven_name, name, [Interval(id=0, payloads=payloads)]), tuple(losses)


def _report(event: Event, ven_name: str, name: str, intervals: Sequence[Interval]) -> Report:
    assert event.id is not None, "an event of a VTN has an id"
    resource = ReportResource(resource_name=AGGREGATED, intervals=tuple(intervals))
    return Report(event_id=event.id, client_name=ven_name, report_name=name, resources=(resource,))


# --- orders to events ---------------------------------------------------------------------------------------------


def flex_event(order: FlexOrder, program_id: str, group_name: str, window: datetime) -> tuple[Event, tuple[Loss, ...]]:
    """The FLEX event of an order that is measured from the group's baseline; `window` begins the event's day.

    Raises:
        ValueError: FLEX cannot say it: an ISP asks for more consumption, or a stretch of equal power is not 2, 4 or 6
            hours long (0 W: one hour, beside such a stretch).
    """
    calendar, day = order.power.calendar, order.power.period
    intervals: list[Interval] = []
    for n, run in enumerate(order.power.runs()):
        length = run.duration * calendar.isp
        if run.power_w > 0:
            raise ValueError(f"ISP {run.start}: FLEX is less consumption, not {run.power_w} W more")
        if length not in DISPATCHES.values() and not (length == ADJACENT_HOUR and run.power_w == 0):
            raise ValueError(f"ISP {run.start}: {run.power_w} W for {length}; FLEX is called for 2, 4 or 6 hours")
        period = IntervalPeriod(start=instant(calendar.start(day, run.start)), duration=span(length))
        called = ValuesMap(type="FLEX", values=(_kilowatts(-Decimal(run.power_w)),))
        intervals.append(Interval(id=n, interval_period=period, payloads=(called,)))
    described = EventPayloadDescriptor(object_type="EVENT_PAYLOAD_DESCRIPTOR", payload_type="FLEX", units="KW")
    reports = (
        ReportDescriptor(payload_type="ACK", frequency=0),
        ReportDescriptor(payload_type="DELIVERED_FLEX", report_intervals="INTERVALS", frequency=-1, repeat=1),
    )
    event = Event(
        id=str(uuid.uuid5(_NAMESPACE, order.head.message_id)),
        program_id=program_id,
        event_name=order.order_reference,
        targets=(group_name,),
        payload_descriptors=(described,),
        report_descriptors=reports,
        interval_period=IntervalPeriod(start=instant(window), duration=span(timedelta(days=1))),
        intervals=tuple(intervals),
    )
    losses = [Loss("price", f"{order.price} {order.currency}", "the DER profile knows no price")]
    fields: Collection[tuple[str, str | None]] = (
        ("offer", order.offer),
        ("contract", order.contract),
        ("prognosis", order.prognosis),
    )
    losses += [Loss(name, value, "a FLEX event names its group only") for name, value in fields if value]
    rounded = [run.power_w for run in order.power.runs() if run.power_w % 10]
    losses += [Loss("power", f"{watts} W", "kW have two decimals") for watts in rounded]
    return event, tuple(losses)


# --- power --------------------------------------------------------------------------------------------------------


def mean_of(steps: Sequence[tuple[datetime, timedelta, float]], begin: datetime, end: datetime) -> float | None:
    """Mean over [begin, end) of a power that is constant over `steps` (start, length, W); None where one is missing."""
    covered, total = timedelta(0), 0.0
    for start, length, watts in steps:
        shared = min(start + length, end) - max(start, begin)
        if shared > timedelta(0):
            covered += shared
            total += watts * shared.total_seconds()
    return total / (end - begin).total_seconds() if covered == end - begin else None


def _watts(kilowatts: Decimal) -> Decimal:
    """Whole watts, never more than allowed."""
    return (kilowatts * 1000).to_integral_value(ROUND_FLOOR)


def _kilowatts(watts: Decimal) -> Decimal:
    return (watts / 1000).quantize(_KW, ROUND_HALF_EVEN)
