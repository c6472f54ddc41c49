"""The aggregator at work: prognosis out, request in, offer out, order in, devices steered, metering out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.ports import Direction, Interpretation
from datamodels import (
    DispatchStatus,
    DispatchUpdate,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    GridSignal,
    IspSeries,
    Metering,
    MeteringKind,
    MeterProfile,
    Prognosis,
    Quality,
    Quantity,
    Settlement,
    SignalKind,
    SignalTarget,
    TargetKind,
    Telemetry,
    decode,
)
from interop import signals
from interop.aggregator.meter import Meter
from interop.aggregator.operate import Operation
from interop.aggregator.planner import Planner
from interop.aggregator.pricing import Pricing
from interop.desk import DeskContext
from interop.effects import Effect, Log, Put, Withdraw
from interop.market.desk import MarketDesk, read_options
from interop.market.ids import head
from interop.market.machine import Judgement
from interop.market.settle import dispositions, metered, settle

__all__ = ["AggregatorDesk", "build"]

_METERED_AFTER = timedelta(minutes=45)
_KW = Decimal("0.001")
_OBEYED = (SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT)
_REMEMBERED = (Quantity.IMPORT_ENERGY_WH, Quantity.EXPORT_ENERGY_WH, Quantity.MEAN_POWER_W, Quantity.STORED_ENERGY_WH)


@dataclass(frozen=True, slots=True)
class AggregatorOptions:
    """Settings of the aggregator's desk.

    Attributes:
        homes_file: what is behind each connection (JSON, see `Planner`).
        history_file: measured quarter-hours of whole local days up to the day that is planned (npz, see `Planner`).
        tariffs_file: prices per ISP (JSON, see `Planner`).
        congestion_point: address of the one that is steered for.
        prognosis_at: local time on the day before at which the prognosis is sent.
        margin_w: kept from every bound; by default what the homes' own load may change by from one ISP to the next.
        markup: share added to what a change costs the homes.
        eur_per_kwh: asked on top for each kWh moved.
        offer_options: how many options an offer holds.
    """

    homes_file: Path
    history_file: Path
    tariffs_file: Path
    congestion_point: str
    prognosis_at: str = "10:00"
    margin_w: float | None = None
    markup: Decimal = Decimal("0.2")
    eur_per_kwh: Decimal = Decimal("0.05")
    offer_options: int = 2

    def __post_init__(self) -> None:
        time.fromisoformat(self.prognosis_at)
        if self.offer_options < 1:
            raise ValueError("offer_options must be 1 or more")


class AggregatorDesk(MarketDesk):
    """Steers a portfolio at one congestion point and trades its flexibility with the grid operator."""

    def __init__(self, context: DeskContext, options: AggregatorOptions) -> None:
        super().__init__(context)
        self.congestion_point = options.congestion_point
        self.prognosis_at = time.fromisoformat(options.prognosis_at)
        pricing = Pricing(options.markup, options.eur_per_kwh, options.offer_options)
        self.planner = Planner(
            options.homes_file, options.history_file, options.tariffs_file, context.terms.calendar, pricing
        )
        self.meter = Meter()
        self.operation = Operation(context, self.planner, self.meter)
        self.margin_w = self.planner.noise_w if options.margin_w is None else options.margin_w

    # --- the hub's calls ----------------------------------------------------------------------------------------------

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        self.meter.add(samples)

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> list[Effect]:
        effects = super().on_signal(peer, adapter, signal, now)
        if self.operation.day is not None:
            self.operation.day.low_w, self.operation.day.high_w = self._bounds(self._orders())
        self._publish_day()
        return effects

    def obeys(self, signal: GridSignal) -> bool:
        return signal.kind in _OBEYED and signals.concerns(signal, self._targets)

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> list[Effect]:
        source, _, resource = update.dispatch.rpartition(":")
        if source not in {self._source([]), *(order.order_reference for order in self._orders())}:
            return []  # an operator's own dispatch says nothing about the plan's
        if update.status is DispatchStatus.REJECTED:
            self.operation.unavailable.add(resource)
        elif update.status in (DispatchStatus.ACCEPTED, DispatchStatus.STARTED):
            self.operation.unavailable.discard(resource)
        return []

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        message = interpretation.message
        if not isinstance(message, Settlement):
            return Judgement()
        own = self._own_settlement(message)
        if own is None:
            why = "Disputed: nothing was metered here"
            return Judgement(details=tuple((row.order_reference, why) for row in message.rows))
        return Judgement(details=dispositions(message, own))

    # --- what is due ----------------------------------------------------------------------------

    async def start(self) -> None:
        await self._remember()
        await super().start()
        self._tasks.append(asyncio.create_task(self.operation.run(), name="operation"))

    async def work(self, now: datetime) -> None:
        if self._prognosis() is None and self._due() <= now < self._day_span[1]:
            await self._send_prognosis(now)
        for request in self.book.messages(FlexRequest, direction=Direction.IN, accepted=True):
            if request.expires > now and not self._said(request, "offer"):
                await self._send_offer(request, now)
        orders = self._orders()
        if self.book.document("dispatched", self._source(orders)) is None and (orders or self._is_limited(now)):
            await self._dispatch(orders)
        if now >= self._day_span[1] + _METERED_AFTER and self._prognosis() is not None:
            await self._send_metering(now)

    @property
    def _day_span(self) -> tuple[datetime, datetime]:
        return self.context.terms.calendar.day_span(self.planner.period)

    def _due(self) -> datetime:
        zone = self.context.terms.calendar.zone
        return datetime.combine(self.planner.period - timedelta(days=1), self.prognosis_at, zone)

    def _grid_operator(self) -> str:
        point = self.context.terms.congestion_point(self.congestion_point)
        if point is None:
            raise ValueError(
                f"[desk.options] congestion_point {self.congestion_point!r} is not among [[market.congestion_points]]"
            )
        return point.dso

    async def _send_prognosis(self, now: datetime) -> None:
        plan = await asyncio.to_thread(self.planner.baseline)
        about = head(
            self.context.domain, self._grid_operator(), now, "prognosis", self.congestion_point, self.planner.period
        )
        await self.say(Prognosis(about, self.congestion_point, 1, plan.net_w))
        self._publish_day()

    async def _send_offer(self, request: FlexRequest, now: datetime) -> None:
        prognosis = self._prognosis()
        if prognosis is None:
            return
        options = await asyncio.to_thread(self.planner.options, request, prognosis)
        if not options:
            if self.book.document("declined", request.head.message_id) is None:
                note = Put("declined", request.head.message_id, True)
                self.book.apply([note])
                await self.context.do([note, Log("offer.none", {"request": request.head.message_id})])
            return
        asked = request.head
        await self.say(
            FlexOffer(
                head=head(
                    asked.recipient, asked.sender, now, "offer", asked.message_id, conversation=asked.conversation_id
                ),
                congestion_point=request.congestion_point,
                expires=request.expires,
                currency=self.context.terms.calendar.currency,
                options=tuple(options),
                request=asked.message_id,
                contract=request.contract,
                prognosis=prognosis.head.message_id,
            )
        )

    async def _dispatch(self, orders: Sequence[FlexOrder]) -> None:
        """Turn the day's orders and limits into one dispatch per resource, in one transaction with the note of it.

        What resources were told for an earlier reason is withdrawn, once they know better.
        """
        source, before = self._source(orders), self.operation.day
        plan = await asyncio.to_thread(self.planner.within, *self._bounds(orders))
        # A limit may have come while the planner was thinking: what holds is asked for again.
        effects = self.operation.adopt(source, plan, *self._bounds(orders), self._running_isp())
        if before is not None:
            effects += [Withdraw(schedule.sent.id) for schedule in before.schedules.values() if schedule.sent]
        note = Put("dispatched", source, True)
        self.book.apply([note])
        await self.context.do(
            [*effects, note, Log("order.dispatched", {"order": source, "resources": len(self.operation.controlled)})]
        )
        self._publish_day()

    async def _send_metering(self, now: datetime) -> None:
        for home in self.planner.homes:
            about = head(
                self.context.domain, self._grid_operator(), now, "metering", home.connection, self.planner.period
            )
            if self.book.record(about.message_id) is None:
                await self.say(self._metering(about, home.connection))

    # --- parts ----------------------------------------------------------------------------

    def _metering(self, about: Any, connection: str) -> Metering:
        """A connection's day: the sum of what its meters measured; where gaps had to be filled, it is uncertain."""
        calendar, period = self.context.terms.calendar, self.planner.period
        total = IspSeries.of(calendar, period, [0] * calendar.isps(period))
        quality = Quality.GOOD
        for id in self._metered_at(connection):
            measured = self.operation.power(id)
            if not measured.is_complete:
                quality = Quality.UNCERTAIN
                measured = self.operation.completed(id, measured)
            total = total + measured
        profile = MeterProfile(
            MeteringKind.POWER, "kW", tuple((Decimal(p or 0) / 1000).quantize(_KW) for p in total.power_w)
        )
        return Metering(about, connection.replace("ean.", "E"), calendar, period, 1, (profile,), quality)

    def _metered_at(self, connection: str) -> list[str]:
        """Resources whose power counts at a connection: its own meter, and what stands beside that meter."""
        behind = {"METER", "PV", "BATTERY"}
        return [r.id for r in self.context.resources.values() if r.connection == connection and r.kind in behind]

    @property
    def _targets(self) -> frozenset[SignalTarget]:
        return frozenset({SignalTarget(TargetKind.CONGESTION_POINT, self.congestion_point)})

    def _bounds(self, orders: Sequence[FlexOrder]) -> tuple[list[float], list[float]]:
        """What the day is planned and steered for: `_allowed`, with the margin kept where there is room for it."""
        pairs = [_within(low, high, self.margin_w) for low, high in zip(*self._allowed(orders), strict=True)]
        return [low for low, _ in pairs], [high for _, high in pairs]

    def _allowed(self, orders: Sequence[FlexOrder]) -> tuple[list[float], list[float]]:
        """Lowest and highest net power (W) per ISP; a binding limit takes precedence over what was agreed."""
        prognosis = self._prognosis()
        assert prognosis is not None, "an order is accepted only where its prognosis is known"
        calendar, period = self.context.terms.calendar, self.planner.period
        point = self.context.terms.congestion_point(self.congestion_point)
        limit = (
            -float(point.export_limit_w) if point and point.export_limit_w is not None else float("-inf"),
            float(point.import_limit_w) if point and point.import_limit_w is not None else float("inf"),
        )
        low, high = self.planner.bounds(prognosis, self._request(), orders, limit)
        least, most = signals.bounds(self.signals, calendar, period, float("-inf"), float("inf"), self._targets)
        held = list(zip(least, most, strict=True))
        return (
            [min(max(v, a), b) for v, (a, b) in zip(low, held, strict=True)],
            [min(max(v, a), b) for v, (a, b) in zip(high, held, strict=True)],
        )

    def _own_settlement(self, theirs: Settlement) -> Settlement | None:
        meterings = self.book.messages(Metering, direction=Direction.OUT)
        actual = metered(meterings)
        prognosis = self._prognosis()
        if actual is None or prognosis is None:
            return None
        known = {prognosis.head.message_id: prognosis}
        return settle(theirs.head, self.planner.period, self._orders(), known, actual, self.context.terms)

    def _source(self, orders: Sequence[FlexOrder]) -> str:
        """Why resources are told what they are told: the last order or, without one, the limits of the day."""
        return orders[-1].order_reference if orders else f"limits-{self.planner.period}"

    def _is_limited(self, now: datetime) -> bool:
        """Whether a limit is imposed on what is left of the day, and there is a prognosis to work from."""
        begin, end = max(self._day_span[0], now), self._day_span[1]
        return self._prognosis() is not None and any(
            self.obeys(signal) and not signal.cancelled and signals.overlaps(signal, begin, end)
            for signal in self.signals.values()
        )

    def _running_isp(self) -> int:
        day, isp = self.context.terms.calendar.locate(self.context.clock.now())
        return isp if day == self.planner.period else 1

    def _said(self, request: FlexRequest, word: str) -> bool:
        about = request.head
        known = head(about.recipient, about.sender, about.created, word, about.message_id)
        return (
            self.book.record(known.message_id) is not None
            or self.book.document("declined", about.message_id) is not None
        )

    def _prognosis(self) -> Prognosis | None:
        found = [
            p for p in self.book.messages(Prognosis, direction=Direction.OUT) if p.power.period == self.planner.period
        ]
        return found[-1] if found else None

    def _request(self) -> FlexRequest | None:
        found = self.book.messages(FlexRequest, direction=Direction.IN, accepted=True)
        return next((r for r in reversed(found) if r.period == self.planner.period), None)

    def _orders(self) -> list[FlexOrder]:
        found = self.book.messages(FlexOrder, direction=Direction.IN, accepted=True)
        return [order for order in found if order.power.period == self.planner.period]

    # --- after a restart ----------------------------------------------------------------------------

    async def _remember(self) -> None:
        """Take up telemetry of the day and what resources were told, from the store."""
        begin, end = self._day_span
        for resource in self.context.resources:
            for quantity in _REMEMBERED:
                self.meter.add(await self.context.store.telemetry(resource, quantity, begin, end + _METERED_AFTER))
        orders = self._orders()
        reasons = [self._source(orders[:n]) for n in range(len(orders), -1, -1)]
        source = next((reason for reason in reasons if self.book.document("dispatched", reason)), None)
        if source is None:
            return
        plan = await asyncio.to_thread(self.planner.within, *self._bounds(orders))
        sent = [decode(document.value) for document in await self.context.store.documents("hub", "dispatch")]
        self.operation.resume(source, plan, *self._bounds(orders), sent)
        self._publish_day()

    def _publish_day(self) -> None:
        """What the dashboard draws as the day's frame."""
        calendar, period = self.context.terms.calendar, self.planner.period
        prognosis, request = self._prognosis(), self._request()
        low, high = self._allowed(self._orders()) if prognosis else ([], [])
        day = self.operation.day
        self.context.feed.publish(
            "day",
            {
                "period": period.isoformat(),
                "timezone": calendar.tz,
                "isp_minutes": calendar.isp / timedelta(minutes=1),
                "starts": [start.isoformat() for start in calendar.starts(period)],
                "congestion_point": self.congestion_point,
                "limit_export_kw": [round(v / 1000, 3) for v in low],
                "limit_import_kw": [round(v / 1000, 3) for v in high],
                "forecast_kw": [round(v, 3) for v in self.planner.unmanaged_kw()],
                "prognosis_kw": _kw(prognosis.power if prognosis else None),
                "plan_kw": _kw(day.plan.net_w if day else None),
                "requested": sorted(request.requested) if request else [],
            },
        )


def build(options: Mapping[str, Any], context: DeskContext) -> AggregatorDesk:
    """Desk factory named by the entry point `aggregator`.

    Raises:
        ValueError: an option is unknown, missing or wrong; all of them are named.
    """
    return AggregatorDesk(context, read_options(AggregatorOptions, options))


def _within(low: float, high: float, margin: float) -> tuple[float, float]:
    """Bounds with a margin kept from both; their middle where there is no room for it."""
    if high - low >= 2 * margin:
        return low + margin, high - margin
    return (low + high) / 2, (low + high) / 2


def _kw(series: IspSeries | None) -> list[float | None] | None:
    return None if series is None else [None if p is None else round(p / 1000, 3) for p in series.power_w]
