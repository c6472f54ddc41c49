"""Wire objects and the canonical model, both ways, pure: dispatches as events, report intervals as telemetry.

VENs live in wall-clock time, dispatches in market time; every instant and duration is translated here and nowhere
else. Power keeps its sign (consumption positive); a setpoint is the consumption of the target, a delta is more of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from adapters.clock import Clock
from adapters.errors import Rejection
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import (
    ActivePeriod,
    EiEvent,
    EiTarget,
    EventDescriptor,
    EventSignal,
    Interval,
    ItemBase,
    OadrEvent,
    OadrReport,
    PayloadFloat,
    PowerAttributes,
    Properties,
    ReportDescription,
    ReportPayload,
    ResourceStatus,
    SignalPayload,
)
from datamodels import (
    Dispatch,
    DispatchInterval,
    DispatchKind,
    Loss,
    Problem,
    Quality,
    Quantity,
    Resource,
    Severity,
    Telemetry,
)

__all__ = [
    "SCALES",
    "Part",
    "Point",
    "Schedule",
    "SignalForm",
    "dispatch_of",
    "event_of",
    "form_of",
    "item_of",
    "laid_out",
    "merged",
    "point_of",
    "samples_of",
    "schedule_of",
    "signal_of",
]

SCALES = {"p": -12, "n": -9, "micro": -6, "m": -3, "c": -2, "d": -1, "none": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_POWER = ItemBase("powerReal", "RealPower", "W", "none", PowerAttributes(Decimal(50), Decimal(230), ac=True))
_ENERGY = ItemBase("energyReal", "RealEnergy", "Wh")
_ITEMS = {"powerReal": _POWER, "energyReal": _ENERGY}


# --- dispatch as event --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignalForm:
    """The signal that carries a dispatch. Payload = canonical value * `factor`; `unit` empty for pure numbers."""

    name: str
    type: str
    unit: str = ""
    factor: float = 1.0


_FORMS = {
    DispatchKind.SETPOINT: SignalForm("LOAD_DISPATCH", "setpoint", "powerReal"),
    DispatchKind.DELTA: SignalForm("LOAD_DISPATCH", "delta", "powerReal"),
    DispatchKind.SOC_TARGET: SignalForm("CHARGE_STATE", "setpoint", "energyReal"),
    DispatchKind.LEVEL: SignalForm("SIMPLE", "level"),
}
_CAPACITY = ("LOAD_CONTROL", "x-loadControlCapacity")


def form_of(resource: Resource, kind: DispatchKind) -> SignalForm:
    """How a dispatch of this kind reaches this resource.

    Limits go out as a fraction of the rated power, or, with binding option `limit = setpoint`, as a setpoint that the
    programme reads as a ceiling.

    Raises:
        Rejection: the limit of a resource without a rating (460).
    """
    if kind in _FORMS:
        return _FORMS[kind]
    if resource.binding is not None and resource.binding.options.get("limit", "capacity") == "setpoint":
        return SignalForm("LOAD_DISPATCH", "setpoint", "powerReal")
    rated = resource.p_max_w if kind is DispatchKind.IMPORT_LIMIT else -resource.p_min_w
    if rated <= 0:
        text = f"{kind} of a resource without rated power in that direction"
        raise Rejection([Problem("oadr.map.rating", resource.id, text, reason="460")])
    return SignalForm(*_CAPACITY, factor=1 / rated)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A signal in wall-clock time: when it starts, and (whole seconds, canonical value) per interval."""

    start: datetime
    steps: tuple[tuple[int, float], ...]

    @property
    def seconds(self) -> int:
        return sum(s for s, _ in self.steps)

    def value_at(self, instant: datetime) -> float | None:
        """The value of the interval that runs at a wall-clock instant."""
        end = self.start
        for seconds, value in self.steps:
            end += timedelta(seconds=seconds)
            if self.start <= instant < end or not seconds:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Part:
    """One signal of an event: `item` is its unit, `device_classes` narrow it down (endDeviceAsset)."""

    id: str
    form: SignalForm
    schedule: Schedule
    item: ItemBase | None = None
    device_classes: tuple[str, ...] = ()


def item_of(unit: str, currency: str = "") -> ItemBase | None:
    """The unit of that element name; of a price with its currency (ISO 4217)."""
    return ItemBase(unit, unit, currency) if currency else _ITEMS.get(unit)


def schedule_of(dispatch: Dispatch, clock: Clock) -> tuple[Schedule, tuple[Loss, ...]]:
    """Translate a dispatch's intervals to wall-clock time; as `laid_out`."""
    return laid_out(dispatch.id, [(i.start, i.duration, i.value) for i in dispatch.intervals], clock)


def laid_out(
    id: str, spans: Sequence[tuple[datetime, timedelta, float]], clock: Clock
) -> tuple[Schedule, tuple[Loss, ...]]:
    """Translate intervals (start, duration, value) of market time to wall-clock time.

    Every boundary is translated on its own and rounded against the start, so that rounding never accumulates and
    intervals stay aligned with the market's. An interval that vanishes within one wall second is left out, and named.

    Raises:
        Rejection: the intervals are not consecutive, which one signal cannot express.
    """
    for (start, duration, _), (following, _, _) in pairwise(spans):
        if following != start + duration:
            text = f"intervals are not consecutive at {following:%Y-%m-%d %H:%M:%S}Z"
            raise Rejection([Problem("oadr.map.gap", id, text, reason="454")])
    if not spans:
        raise Rejection([Problem("oadr.map.empty", id, "a dispatch needs an interval", reason="454")])
    begin = clock.to_wall(spans[0][0])
    begin = begin.replace(microsecond=begin.microsecond // 1000 * 1000)
    if len(spans) == 1 and not spans[0][1]:
        return Schedule(begin, ((0, spans[0][2]),)), ()
    steps: list[tuple[int, float]] = []
    losses: list[Loss] = []
    reached = 0
    for n, (start, duration, value) in enumerate(spans, 1):
        end = round((clock.to_wall(start + duration) - begin).total_seconds())
        if n == len(spans) and not duration:
            steps.append((0, value))
            break
        if n == len(spans) and not steps:
            end = max(end, reached + 1)
        if end > reached:
            steps.append((end - reached, value))
            reached = end
        else:
            losses.append(Loss("interval", f"{start:%H:%M:%S}Z", "shorter than a second of wall-clock time"))
    return Schedule(begin, tuple(steps)), tuple(losses)


def merged(old: Dispatch, new: Dispatch, now: datetime) -> Dispatch:
    """The new revision, with the part of the old one that has already run kept before it."""
    if old.start >= min(new.start, now):
        return new
    past = [
        DispatchInterval(i.start, min(i.duration, new.start - i.start), i.value)
        for i in old.intervals
        if i.start < new.start
    ]
    return Dispatch(new.id, new.resource, new.kind, (*past, *new.intervals), new.source, new.revision, new.priority)


def event_of(
    schedule: Schedule,
    form: SignalForm,
    descriptor: EventDescriptor,
    kind: DispatchKind,
    target: EiTarget,
    now: datetime,
) -> OadrEvent:
    """The event that carries a schedule; `now` (wall) decides the current value. signalID names the dispatch kind."""
    part = Part(kind.value, form, schedule, _ITEMS.get(form.unit))
    signal = signal_of(part, descriptor.event_status == "active", now)
    zero = Duration()
    period = Properties(schedule.start, Duration.seconds(schedule.seconds), notification=zero)
    return OadrEvent(EiEvent(descriptor, ActivePeriod(period), (signal,), target))


def signal_of(part: Part, active: bool, now: datetime) -> EventSignal:
    """A signal as it goes out; its current value is that at `now` (wall) in an `active` event, else 0 (rule 14)."""
    form, schedule = part.form, part.schedule
    running = schedule.value_at(now) if active else None
    return EventSignal(
        intervals=tuple(
            Interval(
                (SignalPayload(PayloadFloat(value * form.factor)),), duration=Duration.seconds(seconds), uid=str(n)
            )
            for n, (seconds, value) in enumerate(schedule.steps)
        ),
        signal_name=form.name,
        signal_type=form.type,
        signal_id=part.id,
        target=EiTarget(end_device_asset=part.device_classes) if part.device_classes else None,
        item_base=part.item,
        current_value=PayloadFloat(0.0 if running is None else running * form.factor),
    )


def dispatch_of(event: OadrEvent, resource: Resource, clock: Clock) -> tuple[Dispatch, tuple[Loss, ...]]:
    """The dispatch that an event asks of a resource: the other direction, as a VEN reads it.

    Raises:
        Rejection: the signal has no canonical meaning (460).
    """
    content = event.event
    signal, *more = content.signals
    losses = [Loss("signal", s.signal_name, "one dispatch carries one signal") for s in more]
    if content.baseline is not None:
        losses.append(Loss("baseline", content.baseline.baseline_id, "a dispatch has no baseline"))
    kind = _kind(signal)
    factor = form_of(resource, kind).factor if (signal.signal_name, signal.signal_type) == _CAPACITY else 1.0
    scale = 10.0 ** SCALES[signal.item_base.scale] if isinstance(signal.item_base, ItemBase) else 1.0
    start = content.active_period.properties.dtstart
    intervals = []
    for interval in signal.intervals:
        payload = interval.payloads[0]
        assert isinstance(payload, SignalPayload)
        assert isinstance(payload.payload, PayloadFloat)
        span = (interval.duration or Duration()).after(start)
        begin = clock.from_wall(start)
        value = round(payload.payload.value * scale / factor)
        intervals.append(DispatchInterval(begin, clock.from_wall(start + span) - begin, value))
        start += span
    about = content.descriptor
    return (
        Dispatch(
            about.event_id,
            resource.id,
            kind,
            tuple(intervals),
            about.event_id,
            about.modification_number,
            about.priority or 0,
        ),
        tuple(losses),
    )


def _kind(signal: EventSignal) -> DispatchKind:
    if signal.signal_id in set(DispatchKind):
        return DispatchKind(signal.signal_id)
    asked = (signal.signal_name.upper(), signal.signal_type)
    for kind, form in _FORMS.items():
        if asked == (form.name, form.type):
            return kind
    if asked == _CAPACITY:
        return DispatchKind.IMPORT_LIMIT
    text = f"no dispatch is meant by {' '.join(asked)}"
    raise Rejection([Problem("oadr.map.signal", "signalName", text, reason="460")])


# --- report as telemetry ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """A data point that a VEN offered and we understand: canonical value = wire value * 10 ** `exponent`.

    `quantity` is None for one that is passed on as it comes (Green Button).
    """

    r_id: str
    resource: str
    quantity: Quantity | None
    reading_type: str
    exponent: int = 0


_QUANTITIES: Mapping[tuple[str, str], Quantity] = {
    ("powerReal", "reading"): Quantity.POWER_W,
    ("powerReal", "usage"): Quantity.POWER_W,
    ("powerReal", "demand"): Quantity.POWER_W,
    ("powerReal", "avgDemand"): Quantity.POWER_W,
    ("powerReal", "avgUsage"): Quantity.POWER_W,
    ("energyReal", "reading"): Quantity.IMPORT_ENERGY_WH,
    ("energyReal", "usage"): Quantity.IMPORT_ENERGY_WH,
    ("energyReal", "storedEnergy"): Quantity.STORED_ENERGY_WH,
    ("voltage", "reading"): Quantity.VOLTAGE_V,
    ("frequency", "reading"): Quantity.FREQUENCY_HZ,
}
_QUALITIES = (
    ("Quality Good", Quality.GOOD),
    ("Quality Bad", Quality.BAD),
    ("No Quality", Quality.BAD),
)


def point_of(report_name: str, description: ReportDescription, resources: Mapping[str, str]) -> Point | Problem:
    """What an offered data point means; `resources` maps the VEN's resourceIDs to canonical ids."""
    where = f"rID {description.r_id!r}"
    sources = [t.resource_id for t in (description.data_source, description.subject) if t is not None]
    resource_id = next((ids[0] for ids in sources if ids), None)
    resource = resources.get(resource_id or "")
    if resource is None:
        text = (
            "its data source names no resource" if resource_id is None else f"no resource is bound to {resource_id!r}"
        )
        return Problem("oadr.report.resource", where, text, reason="461")
    if report_name == "TELEMETRY_STATUS":
        return Point(description.r_id, resource, Quantity.ONLINE, description.reading_type)
    if report_name == "HISTORY_GREENBUTTON":
        return Point(description.r_id, resource, None, description.reading_type)
    unit = description.item_base
    if not isinstance(unit, ItemBase):
        return Problem("oadr.report.unit", where, "it has no usable unit (rule 305)", reason="461")
    quantity = _QUANTITIES.get((unit.name, description.report_type))
    if quantity is None:
        text = f"{description.report_type} of {unit.name} has no use here"
        return Problem("oadr.report.unit", where, text, reason="461")
    if quantity is Quantity.POWER_W and description.reading_type == "Mean":
        quantity = Quantity.MEAN_POWER_W
    return Point(description.r_id, resource, quantity, description.reading_type, SCALES[unit.scale])


def samples_of(
    report: OadrReport, points: Mapping[str, Point], granularity: timedelta, clock: Clock
) -> tuple[list[Telemetry], list[Problem]]:
    """The measurements of one report, in market time, and what could not be used of it.

    An interval without dtstart begins where the one before it ended, the first at the report's dtstart (rule 314).
    """
    samples: list[Telemetry] = []
    problems: list[Problem] = []
    cursor = report.dtstart
    for n, interval in enumerate(report.intervals):
        start = interval.dtstart or cursor
        if start is None:
            problems.append(Problem("oadr.report.time", f"interval {n}", "no dtstart (rule 342)", reason="459"))
            continue
        try:
            span = (interval.duration or Duration()).after(start)
        except (ValueError, OverflowError) as error:
            problems.append(Problem("oadr.report.time", f"interval {n}", str(error), reason="454"))
            continue
        cursor = start + span
        at = clock.from_wall(start)
        for payload in interval.payloads:
            if not isinstance(payload, ReportPayload) or payload.r_id not in points:
                text = "this data point was not asked for"
                problems.append(Problem("oadr.report.rid", f"interval {n}", text, reason="461"))
                continue
            samples += _samples(points[payload.r_id], payload, at, (span or granularity) * clock.rate, problems)
    return samples, problems


def _samples(
    point: Point, payload: ReportPayload, at: datetime, window: timedelta, problems: list[Problem]
) -> list[Telemetry]:
    quality = _quality(payload.data_quality)
    value = payload.payload
    lost: dict[str, object] = {"confidence": payload.confidence, "accuracy": payload.accuracy}
    if isinstance(value, ResourceStatus):
        lost["oadrLoadControlState"] = value.load_control_state
    problems.extend(_lost(payload.r_id, name) for name, given in lost.items() if given is not None)
    if isinstance(value, ResourceStatus) is not (point.quantity is Quantity.ONLINE):
        text = "a status report carries oadrPayloadResourceStatus, any other payloadFloat (rule 510)"
        problems.append(Problem("oadr.report.payload", f"rID {payload.r_id!r}", text, reason="459"))
        return []
    if isinstance(value, ResourceStatus):
        return [
            Telemetry(point.resource, Quantity.ONLINE, at, float(value.online), quality=quality),
            Telemetry(point.resource, Quantity.MANUAL_OVERRIDE, at, float(value.manual_override), quality=quality),
        ]
    if point.quantity is None:
        return []
    duration = window.total_seconds() if point.quantity is Quantity.MEAN_POWER_W else 0.0
    return [Telemetry(point.resource, point.quantity, at, value.value * 10.0**point.exponent, duration, quality)]


def _lost(r_id: str, what: str) -> Problem:
    text = f"{what} is not carried on, telemetry has no place for it"
    return Problem("oadr.map.loss", f"rID {r_id!r}", text, severity=Severity.INFO)


def _quality(text: str | None) -> Quality:
    if text is None:
        return Quality.GOOD
    return next((q for start, q in _QUALITIES if text.startswith(start)), Quality.UNCERTAIN)
