"""The aggregator's thinking: from history and homes to a forecast, a plan, offers, and a repaired plan.

Synchronous and free of I/O after construction; the desk calls it outside the event loop. Everything is derived from
files and arguments, so a restart thinks the same again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import optimiser
from datamodels import FlexRequest, IspSeries, MarketCalendar, OfferOption
from interop.aggregator.forecast import Forecast, Records, Seen, forecast_day, nowcast
from interop.aggregator.homes import Home, Unit, read_homes, units
from interop.aggregator.portfolio import appliances_of, portfolio_of, switched_of
from interop.aggregator.pricing import Pricing
from optimiser import Limits, Plan, Portfolio, Reach, State, Tariffs, edge
from optimiser.forecasting import History, clock_grid, from_clock_grid, margins

__all__ = ["DayPlan", "Measured", "Planner"]

Floats = NDArray[np.float64]
_PRICES = ("buy_eur_per_kwh", "sell_eur_per_kwh")
_EARLY_EUR_PER_KWH = 1e-5
"""Breaks ties between equally cheap plans in favour of the earlier one, as a storage system would."""


@dataclass(frozen=True, slots=True)
class DayPlan:
    """A plan in the edge's units: net power of all homes together, and W targets per resource and ISP."""

    net_w: IspSeries
    targets_w: Mapping[str, Sequence[int]]
    cost_eur: float
    plan: Plan


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known during ISP `isp` (1-based; 0 before the day), a share `elapsed` of which is over.

    Attributes:
        seen: powers so far, see `Seen`; its `running_w` holds batteries too.
        stored_wh: per battery.
        offline: resources that cannot be steered now, and are not known to be back at some time.
        away: ISPs (1-based) for which batteries are announced not to be there.
    """

    isp: int
    elapsed: float
    seen: Seen
    stored_wh: Mapping[str, float]
    offline: frozenset[str]
    away: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def before(
        cls, offline: frozenset[str] = frozenset(), away: Mapping[str, frozenset[int]] | None = None
    ) -> Measured:
        """The day has not begun."""
        return cls(0, 1.0, Seen(0, {}, {}, {}), {}, offline, away or {})


_NOISE_LEVEL = 0.95
_RISK = 0.025
"""Chance that a bound kept with its margin is exceeded in an ISP, before anything is corrected in it."""


class Planner:
    """Plans the day after the records end.

    Args:
        homes: whom it plans for.
        records: history of whole local days, see `Records`.
        prices: `buy_eur_per_kwh` and `sell_eur_per_kwh`, one value per ISP of the day.
    """

    def __init__(
        self,
        homes: tuple[Home, ...],
        records: Records,
        prices: Mapping[str, Sequence[float]],
        calendar: MarketCalendar,
        pricing: Pricing,
    ) -> None:
        self.homes = homes
        self.records = records
        self.calendar = calendar
        self.pricing = pricing
        self.prices = prices
        self.period = records.period(calendar)
        self._units: list[Unit] = list(units(self.homes))
        self.forecast: Forecast = forecast_day(calendar, records)
        self._now = self.forecast
        loads = records.load_kw[:, [home.load for home in self.homes]].sum(axis=1)
        self.noise_w = float(np.quantile(np.abs(np.diff(loads)), _NOISE_LEVEL) * 1000)
        """How much the homes' own load changes from one ISP to the next, at most, 19 times out of 20 (W)."""
        history = History(calendar, records.first, records.load_kw[:, [home.load for home in self.homes]])
        below, above = margins(history, ahead=1, risk=_RISK)
        self.margins_w: tuple[list[float], list[float]] = (below * 1000).tolist(), (above * 1000).tolist()
        """How far the homes' own load may come out below and above its newest forecast, W per ISP: see `_RISK`."""
        shape = (len(self._units), self.isps)
        for name in _PRICES:
            if len(prices[name]) != self.isps:
                raise ValueError(f"{name} holds {len(prices[name])} prices, and {self.period} has {self.isps} ISPs")
        self._tariffs = Tariffs(*(np.broadcast_to(np.asarray(prices[name], float), shape) for name in _PRICES))
        self.meters = [home.id for home in self.homes]
        self.choosing = frozenset(id for home in self.homes for id in home.choosing)
        """Appliances and devices with modes: told when to run, and which mode to be in, by its power."""
        self.efficiency = {b.id: b.efficiency for home in self.homes for b in home.batteries}
        self._baseline: DayPlan | None = None

    @classmethod
    def read(cls, homes: Path, history: Path, tariffs: Path, calendar: MarketCalendar, pricing: Pricing) -> Planner:
        """A planner for the day after a history.

        Args:
            homes: file written by `write_homes`.
            history: npz with `start` (ISO UTC) and rows of one ISP x columns, whole local days: `load_kw`, `pv_kw`.
            tariffs: JSON with `buy_eur_per_kwh` and `sell_eur_per_kwh`, one value per ISP of the planned day.

        Raises:
            ValueError: the history is not whole local days, or the prices are not one per ISP.
        """
        with np.load(history) as data:
            first, _ = calendar.locate(datetime.fromisoformat(str(data["start"])))
            load, pv = (np.asarray(data[key], dtype=np.float64) for key in ("load_kw", "pv_kw"))
        prices = json.loads(tariffs.read_text(encoding="utf-8"))
        return cls(read_homes(homes), Records(first, load, pv), prices, calendar, pricing)

    def following(self, day: Forecast) -> Planner:
        """A planner for the day after this one, which went as `day` says; prices are those of the same clock time."""
        records = self.records.then(day)
        target = records.period(self.calendar)
        prices = {
            name: from_clock_grid(
                self.calendar, target, clock_grid(self.calendar, self.period, np.array([self.prices[name]], float).T)
            )[:, 0].tolist()
            for name in _PRICES
        }
        return Planner(self.homes, records, prices, self.calendar, self.pricing)

    @property
    def isps(self) -> int:
        return self.calendar.isps(self.period)

    @property
    def outlook(self) -> Forecast:
        """The day as it is now seen: measured where it was, forecast for the rest."""
        return self._now

    # --- plan and validate ----------------------------------------------------------------------------

    def baseline(self) -> DayPlan:
        """What the homes would do by themselves at least cost: the first prognosis."""
        if self._baseline is None:
            free = [np.inf] * self.isps
            self._baseline = self.within([-v for v in free], free)
        return self._baseline

    def within(self, low_w: Sequence[float], high_w: Sequence[float]) -> DayPlan:
        """The cheapest plan, made before the day, whose net power keeps the bounds (W per ISP)."""
        return self.repair(Measured.before(), None, low_w, high_w)

    def options(
        self,
        request: FlexRequest,
        base: IspSeries,
        measured: Measured,
        last: DayPlan,
        low_w: Sequence[float],
        high_w: Sequence[float],
        count: int,
        min_activation: Decimal,
    ) -> list[OfferOption]:
        """Priced options for a request around `base`, the fullest first; empty where nothing can be done for it.

        They cost what the cheapest plan from where the day stands costs more with the help than without it; both keep
        the bounds (W per ISP) that hold besides.
        """
        portfolio, state = self._stand(measured, last)
        priced = optimiser.offers(
            portfolio,
            self._tariffs,
            last.plan,
            edge.request_from(request, base, _limits(low_w, high_w)),
            k=count,
            now=measured.isp,
            state=state,
            time_preference_eur_per_kwh=_EARLY_EUR_PER_KWH,
        )
        return self.pricing.offer_options(priced, self.calendar, self.period, min_activation)

    # --- operate ----------------------------------------------------------------------------

    def pv_now(self, id: str, isp: int) -> float:
        """What a PV plant is expected to be able to produce in an ISP, by the latest forecast, W >= 0."""
        return float(self._now.pv_kw[isp - 1, self._pv_series[id]] * 1000)

    def repair(
        self,
        measured: Measured,
        last: DayPlan | None,
        low_w: Sequence[float],
        high_w: Sequence[float],
        fixed_w: Mapping[str, Sequence[int]] | None = None,
    ) -> DayPlan:
        """Plan the ISPs after the running one anew; it and earlier ones stay as the last plan had them.

        `fixed_w` holds W per ISP of cars and heat pumps that are not asked again: they count as load.
        """
        if last is not None and measured.isp >= self.isps:
            return last
        fixed = fixed_w or {}
        portfolio, state = self._stand(measured, last, fixed)
        plan = optimiser.replan(
            portfolio,
            _limits(low_w, high_w),
            self._tariffs,
            now=measured.isp,
            state=state,
            earlier=None if last is None else last.plan,
            time_preference_eur_per_kwh=_EARLY_EUR_PER_KWH,
        )
        repaired = self._edge(plan)
        if last is None:
            return repaired
        targets = {
            id: [*last.targets_w[id][: measured.isp], *fixed.get(id, values)[measured.isp :]]
            for id, values in repaired.targets_w.items()
        }
        return replace(repaired, targets_w=targets)

    def _stand(
        self, measured: Measured, last: DayPlan | None, fixed_w: Mapping[str, Sequence[int]] | None = None
    ) -> tuple[Portfolio, State]:
        """The portfolio by the newest forecast, and where its units stand at the end of the running ISP."""
        self._now = nowcast(self.forecast, self._now, measured.seen, self.homes)
        deaf = self._deaf(measured, None if last is None else last.plan)
        portfolio = self._portfolio(self._now, fixed_w, measured.away, deaf)
        return portfolio, self._state(portfolio, measured, None if last is None else last.plan)

    # --- between the worlds ----------------------------------------------------------------------------

    @property
    def _pv_series(self) -> dict[str, int]:
        return {pv.id: pv.series for home in self.homes for pv in home.pvs}

    def loads_w(self, isp: int) -> float:
        """What all homes are expected to draw in an ISP besides cars and heat pumps, by the latest forecast, W."""
        return float(sum(self._now.load_kw[isp - 1, home.load] for home in self.homes) * 1000)

    def _portfolio(
        self,
        forecast: Forecast,
        fixed_w: Mapping[str, Sequence[int]] | None = None,
        away: Mapping[str, frozenset[int]] | None = None,
        deaf: Collection[str] = (),
    ) -> Portfolio:
        return portfolio_of(self._units, forecast, self.calendar.isp_hours, fixed_w, away, deaf)

    def _deaf(self, measured: Measured, plan: Plan | None) -> frozenset[str]:
        """Devices that choose and cannot be told any more; an appliance that runs goes on all the same."""
        running = {
            device.id
            for k, (_, device) in enumerate(appliances_of(self._units))
            if plan is not None and 0 <= plan.app_start[k] < measured.isp
        }
        return (measured.offline & self.choosing) - running

    def as_told(self, day: DayPlan, targets_w: Mapping[str, Sequence[int]]) -> DayPlan:
        """The plan with appliances and modes as resources were told (W per ISP), where that is something they can do:
        what has been started runs on."""
        start, mode = day.plan.app_start.copy(), day.plan.mode.copy()
        for k, (_, device) in enumerate(appliances_of(self._units)):
            told, run = targets_w.get(device.id, ()), len(device.power_w)
            begins = [t for t in range(len(told) + 1 - run) if tuple(told[t : t + run]) == device.power_w]
            if begins:
                start[k] = begins[0]
        for d, (_, switched) in enumerate(switched_of(self._units)):
            powers = [each.power_w for each in switched.modes.modes]
            told = targets_w.get(switched.id, ())
            if told and set(told) <= set(powers):
                mode[d] = [powers.index(power) for power in told]
        told_w = {id: values for id, values in targets_w.items() if id in self.choosing}
        return replace(day, targets_w={**day.targets_w, **told_w}, plan=replace(day.plan, app_start=start, mode=mode))

    def _state(self, portfolio: Portfolio, measured: Measured, plan: Plan | None) -> State:
        """Where every unit will stand when the running ISP is over, from what was measured and what is going on."""
        running, rest = measured.isp - 1, 1.0 - measured.elapsed
        hours = self.calendar.isp_hours
        state = State.foreseen(portfolio, plan, measured.isp)
        battery, ev, thermal = (np.array(a) for a in (state.battery_kwh, state.ev_kwh, state.thermal))
        lost: list[tuple[int, str, Reach]] = []
        for n, unit in enumerate(self._units):
            for device, kind in (
                (unit.battery, "battery"),
                (unit.charger, "ev"),
                (unit.heat_pump, "heat_pump"),
                (unit.pv, "pv"),
            ):
                if device is not None and device.id in measured.offline:
                    lost.append((n, kind, Reach.OFF if kind == "battery" else Reach.AUTONOMOUS))
            if unit.battery and unit.battery.id in measured.stored_wh:
                power = 0.0 if unit.battery.id in measured.offline else measured.seen.running_w[unit.battery.id] / 1000
                gain = power * unit.battery.efficiency if power > 0 else power / unit.battery.efficiency
                stored = measured.stored_wh[unit.battery.id] / 1000 + gain * rest * hours
                battery[n] = min(max(stored, 0.0), unit.battery.capacity_wh / 1000)
            if plan is None or running < 0:
                continue
            if unit.charger:
                ev[n] = hours * _so_far(measured.seen.power_w[unit.charger.id], plan.ev_kw[n], running).sum()
            if unit.heat_pump:
                demand = -portfolio.th_w[n, : running + 1]
                taken = hours * _so_far(measured.seen.power_w[unit.heat_pump.id], plan.hp_kw[n], running)
                buffer = unit.heat_pump.buffer_wh / 1000
                thermal[n] = min(max(float((taken - demand).sum()), -buffer), buffer)
        state = State(battery, ev, thermal)
        for n, kind, reach in lost:
            state = state.lose(n, kind, reach)
        return state

    def unmanaged_kw(self) -> list[float]:
        """Forecast net power (T,) of all homes if nobody steered anything."""
        net = np.zeros(self.isps)
        for home in self.homes:
            columns = [home.load]
            for devices in (home.chargers, home.heat_pumps, home.appliances, home.switched):
                columns += [device.load for device in devices]
            net += self.forecast.load_kw[:, columns].sum(axis=1)
            for plant in home.pvs:
                net -= self.forecast.pv_kw[:, plant.series]
        return [float(v) for v in net]

    def _edge(self, plan: Plan) -> DayPlan:
        """A plan in W per resource. A PV plant is limited only where the plan uses less than there is."""
        targets: dict[str, Sequence[int]] = {}
        available = self._portfolio(self._now).pv_kw
        for n, unit in enumerate(self._units):
            if unit.battery:
                targets[unit.battery.id] = _whole(plan.battery_kw[n])
            if unit.charger:
                targets[unit.charger.id] = _whole(plan.ev_kw[n])
            if unit.heat_pump:
                targets[unit.heat_pump.id] = _whole(plan.hp_kw[n])
            if unit.pv:
                curtailed = plan.pv_kw[n] < available[n] - 0.05
                targets[unit.pv.id] = _whole(np.where(curtailed, plan.pv_kw[n], unit.pv.p_max_w / 1000))
        for k, (_, appliance) in enumerate(appliances_of(self._units)):
            targets[appliance.id] = _running(appliance.power_w, int(plan.app_start[k]), self.isps)
        for d, (_, switched) in enumerate(switched_of(self._units)):
            targets[switched.id] = [switched.modes.modes[k].power_w for k in plan.mode[d]]
        net = IspSeries.of(self.calendar, self.period, plan.group_kw[0] * 1000)
        return DayPlan(net, targets, plan.energy_cost_eur, plan)


def _so_far(measured_w: Sequence[float | None], planned_kw: Floats, running: int) -> Floats:
    """kW of ISPs 0..`running`: measured where there is a value, else as planned."""
    power = np.array(planned_kw[: running + 1])
    for k, value in enumerate(measured_w[: running + 1]):
        if value is not None:
            power[k] = value / 1000
    return power


def _running(power_w: Sequence[int], start: int, isps: int) -> list[int]:
    """W per ISP of an appliance that starts in ISP `start` (0-based), or not at all (-1)."""
    run = [0] * isps
    if start >= 0:
        run[start : start + len(power_w)] = power_w
    return run


def _limits(low_w: Sequence[float], high_w: Sequence[float]) -> Limits:
    return Limits(np.array([low_w]) / 1000, np.array([high_w]) / 1000)


def _whole(kilowatts: Floats) -> list[int]:
    return [round(float(v) * 1000) for v in kilowatts]
