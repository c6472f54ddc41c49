"""EiReport at the VEN: what we offer, what we are asked for, when it is due, and what is sent. Pure.

Nothing is sampled and kept for a report: measurements are stored anyway, and a report that is due is made of those
since the last one. So a restart loses none, and a report that could not be sent is made again, longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from adapters.clock import Clock
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import (
    EiTarget,
    Interval,
    ItemBase,
    OadrReport,
    PayloadFloat,
    PowerAttributes,
    ReportDescription,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    SamplingRate,
)
from adapters.openadr2.ven.config import VtnConfig
from adapters.openadr2.ven.records import Job
from datamodels import Problem, Quality, Quantity, Resource, ResourceRole, Telemetry

__all__ = [
    "METADATA",
    "Due",
    "Point",
    "due_at",
    "job_of",
    "message",
    "metadata",
    "next_due",
    "offer",
    "offered",
    "sent",
]

METADATA = "METADATA"
_LONGEST = timedelta(days=1)
_MOST_INTERVALS = 4000
_POWER = ItemBase("powerReal", "RealPower", "W", "none", PowerAttributes(Decimal(50), Decimal(230), ac=True))
_ENERGY = ItemBase("energyReal", "RealEnergy", "Wh")


@dataclass(frozen=True, slots=True)
class Point:
    """A data point that we offer, and the quantities that give it, the best first."""

    r_id: str
    resource: str
    report: str
    type: str
    reading: str
    unit: ItemBase | None
    quantities: tuple[Quantity, ...]


def offer(resources: Mapping[str, Resource]) -> dict[str, list[Point]]:
    """The data points of each report, by its reportSpecifierID; `resources` by the resourceID the VTN knows."""
    power = (Quantity.MEAN_POWER_W, Quantity.POWER_W)
    status = (Quantity.ONLINE, Quantity.MANUAL_OVERRIDE, *power)
    found: dict[str, list[Point]] = {name: [] for name in _SPECIFIERS}
    for id, resource in resources.items():
        for name in ("telemetry-usage", "history-usage"):
            found[name].append(Point(f"{id}/power", resource.id, name, "usage", "Mean", _POWER, power))
        found["telemetry-status"].append(
            Point(f"{id}/status", resource.id, "telemetry-status", "x-resourceStatus", "x-notApplicable", None, status)
        )
        if resource.role is ResourceRole.STORAGE:
            stored = (Quantity.STORED_ENERGY_WH,)
            found["telemetry-usage"].append(
                Point(f"{id}/stored", resource.id, "telemetry-usage", "storedEnergy", "Direct Read", _ENERGY, stored)
            )
    return {name: points for name, points in found.items() if points}


_SPECIFIERS = {
    "telemetry-usage": "TELEMETRY_USAGE",
    "telemetry-status": "TELEMETRY_STATUS",
    "history-usage": "HISTORY_USAGE",
}


def metadata(config: VtnConfig, resources: Mapping[str, Resource], now: datetime) -> tuple[OadrReport, ...]:
    """What oadrRegisterReport holds (rules 305, 311): one METADATA report per reportSpecifierID."""
    if not config.reports:
        return ()
    names = {resource.id: id for id, resource in resources.items()}
    rate = SamplingRate(Duration.seconds(config.sampling_s), Duration.seconds(86400), on_change=True)
    return tuple(
        OadrReport(
            report_request_id="0",
            report_specifier_id=specifier,
            created=now,
            duration=Duration.seconds(31 * 86400),
            descriptions=tuple(
                ReportDescription(
                    r_id=point.r_id,
                    report_type=point.type,
                    reading_type=point.reading,
                    data_source=EiTarget(resource_id=(names[point.resource],)),
                    item_base=point.unit,
                    sampling_rate=rate,
                )
                for point in points
            ),
            report_name=f"METADATA_{_SPECIFIERS[specifier]}",
        )
        for specifier, points in offer(resources).items()
    )


def offered(config: VtnConfig, resources: Mapping[str, Resource]) -> str:
    """A mark of what is offered, to be compared with what the VTN was told."""
    told = [
        config.reports,
        config.sampling_s,
        *(point.r_id for points in offer(resources).values() for point in points),
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


# --- requests -----------------------------------------------------------------------------------------------------


def job_of(
    request: ReportRequest, config: VtnConfig, resources: Mapping[str, Resource], now: datetime
) -> Job | Problem:
    """What a request asks for. Its times are wall time; without an interval and a reportBackDuration it is one report
    (rule 324)."""
    asked = request.specifier
    where = f"reportRequest {request.report_request_id!r}"
    interval = asked.report_interval
    try:
        start = max(interval.dtstart, now - 366 * _LONGEST) if interval is not None else now
        length = interval.duration.after(start) if interval is not None else timedelta(0)
        granularity, back = asked.granularity.after(start), asked.report_back_duration.after(start)
        end = start + length if length else None
    except (ValueError, OverflowError) as error:
        return Problem("oadr.report.time", where, str(error), reason="454")
    name = METADATA
    points: tuple[str, ...] = ()
    if asked.report_specifier_id != METADATA:
        offers = {p.r_id for p in offer(resources).get(asked.report_specifier_id, ())} if config.reports else set()
        points = tuple(dict.fromkeys(p.r_id for p in asked.payloads))
        strange = [r_id for r_id in points if r_id not in offers]
        if not offers or strange:
            what = f"rID {strange[0]!r}" if offers else f"reportSpecifierID {asked.report_specifier_id!r}"
            return Problem("oadr.report.offer", where, f"{what} is not offered", reason="461")
        name = _SPECIFIERS[asked.report_specifier_id]
        if granularity and granularity < timedelta(seconds=config.sampling_s):
            text = f"a granularity below {config.sampling_s} s is not offered"
            return Problem("oadr.report.granularity", where, text, reason="461")
    if name.startswith("HISTORY") or (interval is None and not back):
        back = timedelta(0)
    if back:
        granularity = min(granularity, back)
    job = Job(
        peer=config.peer,
        id=request.report_request_id,
        specifier=asked.report_specifier_id,
        name=name,
        points=points,
        granularity_s=granularity.total_seconds(),
        back_s=back.total_seconds(),
        start=start,
        until=start,
        end=end,
    )
    return _placed(job, now)


def _placed(job: Job, now: datetime) -> Job:
    """A periodic report whose beginning is past begins with the period that runs; a one-shot looks back."""
    if not job.back_s:
        if job.name.startswith("HISTORY"):
            return job
        back = timedelta(seconds=job.granularity_s or 60.0)
        return replace(job, start=now, until=now - back, end=now)
    passed = max((now - job.start).total_seconds() // job.back_s, 0)
    return replace(job, until=job.start + timedelta(seconds=passed * job.back_s))


def next_due(job: Job) -> datetime | None:
    """When the next report is due; None once all were sent. A history of the future is due when it is over."""
    if not job.back_s:
        return None if job.sent else (job.end or job.start)
    if job.end is not None and job.until >= job.end:
        return None
    turn = (job.until - job.start).total_seconds() // job.back_s + 1
    due = job.start + timedelta(seconds=turn * job.back_s)
    return due if job.end is None else min(due, job.end)


def due_at(job: Job, now: datetime) -> datetime | None:
    """Up to when a report is due now: the last boundary that has passed, so that none is sent twice after a pause."""
    due = next_due(job)
    if job.last:
        return now
    if due is None or due > now:
        return None
    if not job.back_s:
        return max(due, now) if job.end is None else due
    passed = (now - job.start).total_seconds() // job.back_s
    last = job.start + timedelta(seconds=passed * job.back_s)
    last = max(last, due)
    return last if job.end is None or job.end > now else job.end


def sent(job: Job, until: datetime) -> Job | None:
    """The job after a report up to `until`; None where it was the last."""
    after = replace(job, until=until, sent=job.sent + 1)
    return None if job.last or next_due(after) is None else after


# --- what is sent -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A report that is due, of measurements from `begin` to `end` (wall time)."""

    job: Job
    begin: datetime
    end: datetime

    @classmethod
    def of(cls, job: Job, end: datetime) -> Due:
        begin = job.start if job.name.startswith("HISTORY") else max(job.until, end - _LONGEST)
        return cls(job, begin, end)


def message(
    due: Due,
    points: Mapping[str, Point],
    samples: Mapping[tuple[str, Quantity], Sequence[Telemetry]],
    clock: Clock,
    now: datetime,
) -> OadrReport:
    """The report. `samples` are in market time, from a little before `due.begin`; a point without any in an interval is
    left out of it. Every interval has dtstart and duration (rule 342)."""
    job = due.job
    intervals: list[Interval] = []
    for point in (points[r_id] for r_id in job.points if r_id in points):
        found = [sample for q in point.quantities for sample in samples.get((point.resource, q), ())]
        if job.name == "TELEMETRY_STATUS":
            intervals.append(_status(point, found, due, clock))
        elif not job.granularity_s:
            intervals += _as_measured(point, found, due, clock)
        else:
            intervals += _sampled(point, found, due, clock)
    intervals.sort(key=lambda interval: interval.dtstart or now)
    numbered = (replace(interval, uid=str(n)) for n, interval in enumerate(intervals[:_MOST_INTERVALS]))
    return OadrReport(
        report_request_id=job.id,
        report_specifier_id=job.specifier,
        created=now,
        dtstart=due.begin,
        duration=Duration.seconds((due.end - due.begin).total_seconds()),
        intervals=tuple(numbered),
        report_id=f"{job.id}/{job.sent}",
        report_name=job.name,
    )


def _status(point: Point, samples: Iterable[Telemetry], due: Due, clock: Clock) -> Interval:
    """The state at the end (rules 331, 510): online where its device said so last, or anything was measured of it."""
    known = sorted((s for s in samples if clock.to_wall(s.at) <= due.end), key=lambda s: s.at)
    last = {s.quantity: s.value for s in known}
    online = last.get(Quantity.ONLINE, float(bool(known)))
    state = ResourceStatus(online=bool(online), manual_override=bool(last.get(Quantity.MANUAL_OVERRIDE, 0.0)))
    payload = ReportPayload(point.r_id, state)
    return Interval((payload,), dtstart=due.end, duration=Duration())


def _as_measured(point: Point, samples: Sequence[Telemetry], due: Due, clock: Clock) -> Iterator[Interval]:
    for sample in _best(samples):
        at = clock.to_wall(sample.at)
        if due.begin <= at < due.end:
            span = sample.duration_s / clock.rate
            yield _interval(point, at, span, sample.value, [sample])


def _sampled(point: Point, samples: Sequence[Telemetry], due: Due, clock: Clock) -> Iterator[Interval]:
    """One interval per granularity that is over, at dtstart + k * granularity."""
    job = due.job
    step = timedelta(seconds=job.granularity_s)
    best = [(clock.to_wall(s.at), s) for s in _best(samples)]
    begin = job.start + ((due.begin - job.start) // step) * step
    while begin < due.end:
        end = min(begin + step, due.end)
        if begin + step > due.end and due.end != job.end and not job.last:
            return  # it is not over yet, and comes with the next report
        if begin + step > due.begin:
            held = [
                (at, s) for at, s in best if at < end and at + timedelta(seconds=s.duration_s / clock.rate) >= begin
            ]
            value = _mean(held, begin, end, clock) if point.reading == "Mean" else _last(held)
            if value is not None:
                yield _interval(point, begin, (end - begin).total_seconds(), value, [s for _, s in held])
        begin += step


def _best(samples: Sequence[Telemetry]) -> list[Telemetry]:
    """Of several quantities that give a point, the first that there is."""
    first = next((s.quantity for s in samples), None)
    return sorted((s for s in samples if s.quantity is first), key=lambda s: s.at)


def _last(held: Sequence[tuple[datetime, Telemetry]]) -> float | None:
    return held[-1][1].value if held else None


def _mean(held: Sequence[tuple[datetime, Telemetry]], begin: datetime, end: datetime, clock: Clock) -> float | None:
    """Over the parts that are known; samples without a length count alike."""
    if not held:
        return None
    weights = [_shared(at, s.duration_s / clock.rate, begin, end) for at, s in held]
    if not any(weights):
        weights = [float(at >= begin) for at, _ in held]
    whole = sum(weights)
    return sum(w * s.value for w, (_, s) in zip(weights, held, strict=True)) / whole if whole else None


def _shared(at: datetime, length_s: float, begin: datetime, end: datetime) -> float:
    return max((min(at + timedelta(seconds=length_s), end) - max(at, begin)).total_seconds(), 0.0)


def _interval(point: Point, at: datetime, span_s: float, value: float, samples: Sequence[Telemetry]) -> Interval:
    good = all(sample.quality is Quality.GOOD for sample in samples)
    bad = any(sample.quality is Quality.BAD for sample in samples)
    quality = "Quality Good - Non Specific" if good else _POOR[bad]
    payload = ReportPayload(point.r_id, PayloadFloat(value), data_quality=quality)
    return Interval((payload,), dtstart=at, duration=Duration.seconds(span_s))


_POOR = {True: "Quality Bad - Non Specific", False: "Quality Uncertain - Non Specific"}
