"""The aggregator at work: prognosis out, request in, offer out, order in, devices steered, metering out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.ports import Interpretation
from datamodels import (
    ConnectionPeriod,
    DispatchStatus,
    DispatchUpdate,
    FlexOrder,
    GridSignal,
    Problem,
    Quantity,
    Settlement,
    Telemetry,
)
from interop.aggregator.day import METERED_AFTER, Day
from interop.aggregator.forecast import Forecast
from interop.aggregator.meter import Meter
from interop.aggregator.offering import refusals
from interop.aggregator.options import AggregatorOptions
from interop.aggregator.planner import Planner
from interop.aggregator.pricing import Pricing
from interop.aggregator.settling import verdict
from interop.aggregator.trade import Trade
from interop.aggregator.warming import warm_up
from interop.desk import DeskContext
from interop.effects import Effect, Put
from interop.market.desk import MarketDesk, read_options
from interop.market.machine import Judgement
from interop.market.portfolio import agr_question, due_agr
from interop.market.reserve import held, unused

__all__ = ["AggregatorDesk", "build"]

_LIVED = "lived"
"""Documents of this kind hold how a day went, by ISO day: the history of the days after it."""
_REMEMBERED = (Quantity.IMPORT_ENERGY_WH, Quantity.EXPORT_ENERGY_WH, Quantity.MEAN_POWER_W, Quantity.STORED_ENERGY_WH)


class AggregatorDesk(MarketDesk):
    """Steers a portfolio at one congestion point and trades its flexibility with the grid operator, day by day."""

    def __init__(self, context: DeskContext, options: AggregatorOptions) -> None:
        super().__init__(context)
        self.options = options
        self.meter = Meter()
        pricing = Pricing(options.markup, options.eur_per_kwh)
        planner = Planner.read(
            options.homes_file, options.history_file, options.tariffs_file, context.terms.calendar, pricing
        )
        strange = [id for home in planner.homes for id in home.resources if id not in context.resources]
        if strange:
            named = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
            raise ValueError(f"homes_file names what no [[resources]] entry has as its id: {named}")
        self.days: list[Day] = []
        self.trades: list[Trade] = []
        self._open(planner)

    def _open(self, planner: Planner) -> Day:
        day = Day(self, self.options, planner, self.meter)
        self.days.append(day)
        self.trades.append(Trade(day))
        return day

    @property
    def day(self) -> Day:
        """The day that is shown: the first one that is not over, else the last."""
        now = self.context.clock.now()
        return next((day for day in self.days if now < day.span[1]), self.days[-1])

    # --- the hub's calls ----------------------------------------------------------------------------------------------

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        self.meter.add(samples)

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> list[Effect]:
        effects = super().on_signal(peer, adapter, signal, now)
        for day in self.days:
            day.refresh_bounds()
        self.day.publish()
        return effects

    def obeys(self, signal: GridSignal) -> bool:
        return self.day.obeys(signal)

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> list[Effect]:
        source, _, resource = update.dispatch.rpartition(":")
        for day in self.days:
            if not day.caused(source):
                continue  # an operator's own dispatch says nothing about the plan's
            if update.status is DispatchStatus.REJECTED:
                day.operation.unavailable.add(resource)
            elif update.status in (DispatchStatus.ACCEPTED, DispatchStatus.STARTED):
                day.operation.unavailable.discard(resource)
        return []

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        match interpretation.message:
            case Settlement() as settlement:
                return Judgement(details=verdict(settlement, self.book, self.context.terms))
            case FlexOrder(unsolicited=True) as order:
                return Judgement(problems=self._refusals(order))
        return Judgement()

    def _refusals(self, order: FlexOrder) -> tuple[Problem, ...]:
        """Direct activation is taken within what the contract still holds in reserve."""
        contract = self.context.terms.contract(order.contract) if order.contract else None
        if contract is None:
            return refusals(order, None, None)
        here = order.congestion_point == self.options.congestion_point
        day = next((day for day in self.days if here and day.period == order.power.period), None)
        if day is None or day.agreed().baseline(order) is None:
            text = f"nothing was prognosed for {order.congestion_point} on {order.power.period}"
            return (Problem("direct.baseline", "D-PrognosisMessageID", text, "No baseline", clause="UFTP 3.8"),)
        calendar = self.context.terms.calendar
        reserved = held(self.book, contract, calendar, order.congestion_point, order.power.period)
        left = None if reserved is None else unused(reserved, contract.id, day.agreed().orders)
        return refusals(order, contract, left)

    # --- what is due ----------------------------------------------------------------------------

    async def start(self) -> None:
        homes = len(self.day.planner.homes)
        self._tasks.append(asyncio.create_task(warm_up(homes), name="warm up"))
        self._catch_up()
        for day in self.days:
            await self._remember(day)
            await day.resume()
        self.day.publish()
        await super().start()
        for day in self.days:
            self._operate(day)

    def _operate(self, day: Day) -> None:
        self._tasks.append(asyncio.create_task(day.operation.run(), name=f"operation {day.period}"))

    async def work(self, now: datetime) -> None:
        await self._refer(now)
        for day, trade in zip(list(self.days), list(self.trades), strict=True):
            before = len(self.book.records()), day.operation.day
            await day.prognose(now)
            await trade.work(now)
            await day.adopt(now)
            await day.reprognose(now)
            await day.meter_out(now)
            if day is self.day and before != (len(self.book.records()), day.operation.day):
                day.publish()
        if self.options.rolling:
            await self._roll(now)

    async def _refer(self, now: datetime) -> None:
        """Tell the common reference operator, where there is one, what we represent, and ask about each open day."""
        point = self.day.point
        stays = [ConnectionPeriod(home.connection, point.start, point.end) for home in self.day.planner.homes]
        update = due_agr(self.book, self.context, stays, now)
        if update is not None:
            await self.say(update)
        for day in self.days:
            question = agr_question(self.book, self.context, day.period, now) if now < day.span[1] else None
            if question is not None:
                await self.say(question)

    # --- day after day ----------------------------------------------------------------------------

    async def _roll(self, now: datetime) -> None:
        """Open the next day when its prognosis is due, and close those whose metering is final.

        The last day is history then: measured where it is over, as expected for the rest of it.
        """
        last = self.days[-1]
        if now >= self._next_due(last):
            lived = last.planner.outlook
            planner = await asyncio.to_thread(last.planner.following, lived)
            note = Put(_LIVED, last.period.isoformat(), [lived.load_kw.tolist(), lived.pv_kw.tolist()])
            self.book.apply([note])
            await self.context.do([note])
            self._operate(self._open(planner))
        if len(self.days) > 1 and self.days[0].is_closed(now):
            del self.days[0], self.trades[0]

    def _next_due(self, day: Day) -> datetime:
        return self.context.terms.calendar.day_span(day.period)[0] + (
            day.the_day_before(self.options.prognosis_at) - day.the_day_before("00:00")
        )

    def _catch_up(self) -> None:
        """After a restart: open the days that were open, each after the history that it was planned from."""
        while (lived := self.book.document(_LIVED, self.days[-1].period.isoformat())) is not None:
            self._open(self.days[-1].planner.following(Forecast.of(*lived)))
        now = self.context.clock.now()
        while len(self.days) > 1 and self.days[0].is_closed(now):
            del self.days[0], self.trades[0]

    async def _remember(self, day: Day) -> None:
        """Take up telemetry of a day from the store."""
        begin, end = day.span
        for resource in self.context.resources:
            for quantity in _REMEMBERED:
                self.meter.add(await self.context.store.telemetry(resource, quantity, begin, end + METERED_AFTER))


def build(options: Mapping[str, Any], context: DeskContext) -> AggregatorDesk:
    """Desk factory named by the entry point `aggregator`.

    Raises:
        ValueError: an option is unknown, missing or wrong; all of them are named.
    """
    return AggregatorDesk(context, read_options(AggregatorOptions, options))
