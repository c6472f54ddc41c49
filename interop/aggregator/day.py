"""One local day of the aggregator: prognosis, orders turned into dispatches, revisions of the prognosis, metering.

What is due is derived from the book each time `work` is called; nothing else is remembered than what can be worked out
again. Requests and offers are `Trade`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol

from datamodels import (
    CongestionPoint,
    FlexOrder,
    GridSignal,
    Head,
    IspSeries,
    MarketMessage,
    OfferRevocation,
    Prognosis,
    Quality,
    ResourceKind,
    SignalKind,
    SignalTarget,
    TargetKind,
    decode,
)
from interop import signals
from interop.aggregator.agreements import Agreements, Bounds, bounds, revised
from interop.aggregator.meter import Meter
from interop.aggregator.operate import Operation
from interop.aggregator.options import AggregatorOptions
from interop.aggregator.planner import DayPlan, Planner
from interop.aggregator.settling import ean, metering, newest
from interop.aggregator.show import kilowatts
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Log, Put, Withdraw
from interop.market.book import Book
from interop.market.called import ceiling
from interop.market.ids import head
from interop.market.portfolio import agr_view, reference_operator
from interop.signals import Signals

__all__ = ["METERED_AFTER", "Day", "Speaker"]

METERED_AFTER = timedelta(minutes=45)
_NOISES = 3
_SHORT_W = 100
_BEHIND = frozenset({ResourceKind.METER, ResourceKind.PV, ResourceKind.BATTERY})
_OBEYED = frozenset({SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT})


class Speaker(Protocol):
    """What a day needs of its desk."""

    context: DeskContext
    book: Book

    @property
    def signals(self) -> Signals: ...

    async def say(self, *messages: MarketMessage, also: Sequence[Effect] = ()) -> None: ...

    async def revoke(self, offer_id: str) -> OfferRevocation: ...


class Day:
    """A local day at one congestion point, from its prognosis to its last metering."""

    def __init__(self, desk: Speaker, options: AggregatorOptions, planner: Planner, meter: Meter) -> None:
        self.desk = desk
        self.options = options
        self.planner = planner
        self.meter = meter
        self.context = desk.context
        self.calendar = desk.context.terms.calendar
        self.operation = Operation(desk.context, planner, meter)
        constant = None if options.margin_w is None else [options.margin_w] * planner.isps
        self.margins_w = planner.margins_w if constant is None else (constant, constant)
        self.threshold_w = _NOISES * planner.noise_w if options.reprognosis_w is None else options.reprognosis_w
        self.targets = frozenset({SignalTarget(TargetKind.CONGESTION_POINT, options.congestion_point)})
        self._read = -1  # how much telemetry the metering was last worked out from

    # --- what it is about ----------------------------------------------------------------------------

    @property
    def period(self) -> date:
        return self.planner.period

    @property
    def span(self) -> tuple[datetime, datetime]:
        return self.calendar.day_span(self.period)

    def the_day_before(self, at: str) -> datetime:
        """A local time on the day before, as an instant."""
        return datetime.combine(self.period - timedelta(days=1), time.fromisoformat(at), self.calendar.zone)

    @property
    def point(self) -> CongestionPoint:
        point = self.context.terms.congestion_point(self.options.congestion_point)
        if point is None:
            raise ValueError(
                f"[desk.options] congestion_point {self.options.congestion_point!r} is not among "
                "[[market.congestion_points]]"
            )
        return point

    @property
    def acts(self) -> bool:
        """Whether we have connections at the congestion point on this day, as far as a common reference says."""
        if reference_operator(self.context.participants) is None:
            return True
        view = agr_view(self.desk.book, self.period)
        return view is not None and any(
            point.address == self.options.congestion_point and point.connections for point in view.points
        )

    def agreed(self) -> Agreements:
        return Agreements.of(self.desk.book, self.options.congestion_point, self.period)

    def head(self, now: datetime, *subject: object) -> Head:
        """Head of a message to the grid operator that opens a conversation."""
        return head(self.context.domain, self.point.dso, now, *subject)

    def source(self, orders: Sequence[FlexOrder]) -> str:
        """Why resources are told what they are told: the last order or, without one, the day's own plan."""
        return orders[-1].order_reference if orders else f"plan-{self.period}"

    def caused(self, source: str) -> bool:
        """Whether dispatches of that source are this day's."""
        return source in {self.source([]), *(order.order_reference for order in self.agreed().orders)}

    # --- bounds ----------------------------------------------------------------------------

    def allowed(self, agreed: Agreements) -> Bounds:
        """Lowest and highest net power (W) per ISP; a binding limit takes precedence over what was agreed."""
        point = self.point
        limit = (
            float("-inf") if point.export_limit_w is None else -float(point.export_limit_w),
            float("inf") if point.import_limit_w is None else float(point.import_limit_w),
        )
        low, high = bounds(agreed, self.planner.isps, limit)
        held = signals.bounds(self.desk.signals, self.calendar, self.period, float("-inf"), float("inf"), self.targets)
        pairs = list(zip(*held, strict=True))
        return (
            [min(max(v, a), b) for v, (a, b) in zip(low, pairs, strict=True)],
            [min(max(v, a), b) for v, (a, b) in zip(high, pairs, strict=True)],
        )

    def steered_for(self, agreed: Agreements) -> Bounds:
        """What the day is planned and steered for: `allowed`, with the margin kept where there is room for it."""
        pairs = list(map(_within, *self.allowed(agreed), *self.margins_w))
        return [low for low, _ in pairs], [high for _, high in pairs]

    def obeys(self, signal: GridSignal) -> bool:
        return signal.kind in _OBEYED and signals.concerns(signal, self.targets)

    def refresh_bounds(self) -> None:
        """Limits changed: steering obeys at once, the next repair plans for them."""
        if self.operation.day is not None:
            self.operation.day.low_w, self.operation.day.high_w = self.steered_for(self.agreed())

    async def current_plan(self) -> DayPlan:
        """The plan that is followed or, where none is yet, the one behind the prognosis."""
        day = self.operation.day
        return day.plan if day is not None else await asyncio.to_thread(self.planner.baseline)

    # --- what is due ----------------------------------------------------------------------------

    async def prognose(self, now: datetime) -> None:
        """Send the first prognosis once it is due, or asked for by a request."""
        agreed = self.agreed()
        due = now >= self.the_day_before(self.options.prognosis_at) or bool(agreed.requests)
        if agreed.said or not due or now >= self.span[1] or not self.acts:
            return
        plan = await asyncio.to_thread(self.planner.baseline)
        about = self.head(now, "prognosis", self.options.congestion_point, self.period)
        await self.desk.say(Prognosis(about, self.options.congestion_point, 1, plan.net_w))

    async def adopt(self, now: datetime) -> None:
        """Follow the day's orders, or its limits, or from its beginning on its own prognosis.

        One dispatch per resource, in one transaction with the note of it. What resources were told for an earlier
        reason is withdrawn, once they know better.
        """
        agreed = self.agreed()
        source = self.source(agreed.orders)
        begin, end = self.span
        if agreed.prognosis is None or now >= end or self.desk.book.document("dispatched", source) is not None:
            return
        if not agreed.orders and now < begin and not self._is_limited(now):
            return
        before, plan, wanted = self.operation.day, await self.current_plan(), self.steered_for(agreed)
        if before is not None or not _keeps(plan, wanted):
            plan = await asyncio.to_thread(self.planner.repair, self.operation.known(), plan, *wanted)
        # A limit may have come while the planner was thinking: what holds is asked for again.
        first = max(self.operation.running, 1)
        effects = self.operation.adopt(source, plan, *self.steered_for(agreed), first)
        if before is not None:
            effects += [Withdraw(schedule.sent.id) for schedule in before.schedules.values() if schedule.sent]
        note = Put("dispatched", source, True)
        self.desk.book.apply([note])
        count = {"order": source, "resources": len(self.operation.controlled)}
        await self.context.do([*effects, note, Log("order.dispatched", count), *self._short(agreed, plan)])

    async def reprognose(self, now: datetime) -> None:
        """Send the prognosis' next revision where the plan has moved away from it and can still be traded."""
        day, agreed = self.operation.day, self.agreed()
        last = agreed.prognosis
        if day is None or day.stale or last is None or not agreed.answered or now >= self.span[1]:
            return
        if now < last.head.created + timedelta(minutes=self.options.reprognosis_minutes):
            return
        power = revised(agreed, day.plan.net_w.power_w, self.operation.running, self.tradable(now), self.threshold_w)
        if power is None:
            return
        revision = agreed.said + 1
        about = self.head(now, "prognosis", self.options.congestion_point, self.period, revision)
        await self.desk.say(Prognosis(about, self.options.congestion_point, revision, power))

    def tradable(self, now: datetime) -> int:
        """First ISP (1-based) that starts late enough for intraday trade; one past the last where none does."""
        closing = now + self.calendar.intraday_lead
        return next((k for k, start in enumerate(self.calendar.starts(self.period), 1) if start >= closing), 10**6)

    async def meter_out(self, now: datetime) -> None:
        """Send each connection's metering once the day is over, and a revision when late readings change it."""
        over = self.span[1] + METERED_AFTER
        if now < over or self.is_closed(now) or self._read == self.meter.additions or not self.agreed().said:
            return
        read, sent = self.meter.additions, newest(self.desk.book, self.period)
        for home in self.planner.homes:
            power, quality = self._metered(home.connection)
            known = sent.get(ean(home.connection))
            if known is not None and (known.power() == power or quality is not Quality.GOOD):
                continue
            revision = 1 if known is None else known.revision + 1
            about = self.head(now, "metering", home.connection, self.period, *([revision] if revision > 1 else []))
            await self.desk.say(metering(about, home.connection, power, quality, revision))
        self._read = read

    def is_closed(self, now: datetime) -> bool:
        """Whether the day's metering is final."""
        return now >= self.span[1] + METERED_AFTER + timedelta(hours=self.options.metering_revised_hours)

    # --- parts ----------------------------------------------------------------------------

    def _metered(self, connection: str) -> tuple[IspSeries, Quality]:
        """A connection's day: the sum of what its meters measured; where gaps had to be filled, it is uncertain."""
        total = IspSeries.of(self.calendar, self.period, [0] * self.planner.isps)
        quality = Quality.GOOD
        for id in [r.id for r in self.context.resources.values() if r.connection == connection and r.kind in _BEHIND]:
            measured = self.operation.power(id)
            if not measured.is_complete:
                quality = Quality.UNCERTAIN
                measured = self.operation.completed(id, measured)
            total = total + measured
        return total, quality

    def _short(self, agreed: Agreements, plan: DayPlan) -> list[Alarm]:
        """What people must know of calls that are obeyed here and that a plan does not deliver."""
        alarms: list[Alarm] = []
        for call in agreed.calls:
            limit = self.desk.signals.get(signals.key_of(call.head.sender, call.head.conversation_id))
            over = {k: (plan.net_w.at(k) or 0) - most for k, most in ceiling(call).items()}
            if limit is not None and self.obeys(limit) and (worst := max(over.values())) > _SHORT_W:
                isps = sum(w > _SHORT_W for w in over.values())
                text = f"call {call.head.message_id}: in {isps} ISPs the plan is above the ceiling, by up to {worst} W"
                alarms.append(Alarm("call.short", call.head.sender, text))
        return alarms

    def _is_limited(self, now: datetime) -> bool:
        """Whether a limit is imposed on what is left of the day."""
        begin, end = max(self.span[0], now), self.span[1]
        return any(
            self.obeys(signal) and not signal.cancelled and signals.overlaps(signal, begin, end)
            for signal in self.desk.signals.values()
        )

    async def resume(self) -> None:
        """After a restart: take up what resources were told, from the store."""
        agreed = self.agreed()
        reasons = [self.source(agreed.orders[:n]) for n in range(len(agreed.orders), -1, -1)]
        source = next((reason for reason in reasons if self.desk.book.document("dispatched", reason)), None)
        if source is None:
            return
        wanted = self.steered_for(agreed)
        plan = await asyncio.to_thread(self.planner.within, *wanted)
        sent = [decode(document.value) for document in await self.context.store.documents("hub", "dispatch")]
        self.operation.resume(source, plan, *wanted, sent)

    def publish(self) -> None:
        """What the dashboard draws as the day's frame."""
        agreed = self.agreed()
        low, high = self.allowed(agreed) if agreed.prognosis else ([], [])
        day = self.operation.day
        requested = frozenset[int]().union(*(r.requested for r in (*agreed.requests, *agreed.calls)))
        self.context.feed.publish(
            "day",
            {
                "period": self.period.isoformat(),
                "timezone": self.calendar.tz,
                "isp_minutes": self.calendar.isp / timedelta(minutes=1),
                "starts": [start.isoformat() for start in self.calendar.starts(self.period)],
                "congestion_point": self.options.congestion_point,
                "limit_export_kw": [round(v / 1000, 3) for v in low],
                "limit_import_kw": [round(v / 1000, 3) for v in high],
                "forecast_kw": [round(v, 3) for v in self.planner.unmanaged_kw()],
                "prognosis_kw": kilowatts(agreed.prognosis.power) if agreed.prognosis else None,
                "plan_kw": kilowatts(day.plan.net_w) if day else None,
                "requested": sorted(requested),
            },
        )


def _keeps(plan: DayPlan, wanted: Bounds) -> bool:
    return all(a <= (p or 0) <= b for a, p, b in zip(wanted[0], plan.net_w.power_w, wanted[1], strict=True))


def _within(low: float, high: float, below: float, above: float) -> tuple[float, float]:
    """Bounds with margins kept from both; where there is no room for them, they meet in between."""
    if high - low >= below + above:
        return low + below, high - above
    share = below / (below + above)
    return low + share * (high - low), low + share * (high - low)
