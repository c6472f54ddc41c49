"""Use case `lvgrid`: a grid operator manages the capacity of a low-voltage net by what its homes can move.

The net's worst day of the year. Homes plan within the transformer's limit, kept by a margin that forecast errors exceed
with a stated probability. At noon the largest battery dies and a home with much PV is out of reach for a while; in the
evening the grid is gone and the net lives on as an island. Power flow judges what really flowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import optimiser
from interop.aggregator.forecast import Forecast
from interop.aggregator.homes import Unit, units
from interop.gridoperator.powerflow import Flow as PowerFlow
from interop.gridoperator.powerflow import Grid
from interop.scenarios import rural1
from interop.usecases.assumptions import Assumption, Assumptions
from interop.usecases.days import CALENDAR, Setting, View, last_days, records
from interop.usecases.measures import bills, leftover_eur, peak_kw
from interop.usecases.play import Lived, Loss, Outage, live, planned, unmanaged
from interop.usecases.report import BusinessCase, Chart, Indicator, Line, Report, Table, business_case
from interop.usecases.sheet import Flow, Row
from optimiser import Limits, Plan, Reach, Tariffs
from optimiser.forecasting import History, margins

__all__ = ["VARIANTS", "play"]

Floats = NDArray[np.float64]
_H = CALENDAR.isp_hours
_USABLE = 0.97
"""Of the transformer's rating: the rest is for losses."""
_RISK, _EVERY = 0.1, 4
_RISKS = (0.5, _RISK, 0.025)
_AWAY_ISPS = 8
VARIANTS = {
    "idle": "nobody plans, batteries idle",
    "free": "each plans for its own bill, no limit",
    "limited": "planned within the limit on forecasts, anew every hour",
    "stressed": "the same with drop-outs and an outage",
    "foresight": "planned within the limit, knowing the whole day",
}


@dataclass(frozen=True, eq=False)
class _Case:
    setting: Setting
    view: View
    units: list[Unit]
    limits: Limits
    planned_limits: Limits
    losses: tuple[Loss, ...]
    outage: Outage
    lived: Mapping[str, Lived]
    flows: Mapping[str, PowerFlow]
    rating_kva: float
    best: Plan

    def cost(self, variant: str) -> float:
        """Energy, wear and what stores lack or have over, of all members, EUR."""
        day, (buy, sell) = self.lived[variant], rural1.prices()
        return float(
            (bills(day.net_kw, buy, sell, _H) + day.wear_eur + leftover_eur(day.leftover_kwh, buy, sell)).sum()
        )

    def beyond_kwh(self, variant: str) -> float:
        """Energy beyond the limit."""
        return float(self.limits.excess_kw(self.lived[variant].net_kw.sum(axis=0, keepdims=True)).sum() * _H)

    def unserved_kwh(self, variant: str) -> float:
        """Energy that consumers lack in the outage: all they wanted, where nobody keeps an island."""
        day, dark = self.lived[variant], slice(self.outage.isp, self.outage.until)
        return float((day.shed_kw if variant == "stressed" else day.used_kw)[:, dark].sum() * _H)

    def curtailed_kwh(self, variant: str) -> float:
        day = self.lived[variant]
        return float((day.portfolio.pv_kw - day.pv_kw).sum() * _H)


def play(assumptions: Assumptions, days: int = 1) -> Report:
    """Live the worst day of the net (`days` is 1: there is one)."""
    given = assumptions.of("lvgrid")
    case = _live(last_days("export", days)[-1], given)
    congested = {name: int(flow.congested.sum()) for name, flow in case.flows.items()}
    extra, saved = case.cost("limited") - case.cost("free"), case.unserved_kwh("stressed")
    return Report(
        name="lvgrid",
        title="A net within its capacity",
        lead=(
            f"On {case.setting.period:%-d %B %Y} PV overloads the {case.rating_kva:g} kVA transformer in"
            f" {congested['free']} quarter-hours even if every home plans for itself. Planned within the limit it is"
            f" overloaded in {congested['limited']}, at {extra:.2f} EUR more for the homes. With the largest battery"
            f" dead from noon on and a home out of reach it is overloaded in {congested['stressed']}, and of"
            f" {case.unserved_kwh('limited'):.0f} kWh that an outage in the evening would take, the island lacks"
            f" {saved:.1f} kWh."
        ),
        variants=VARIANTS,
        indicators=tuple(_indicators(case)),
        charts=tuple(_charts(case)),
        tables=(_events(case), _risks(case), _elements(case)),
        business=_business(case, given),
        method=_METHOD,
        data=_DATA,
        notice=rural1.NOTICE,
        failures=tuple(_failures(case)),
    )


def _live(setting: Setting, given: Mapping[str, Assumption]) -> _Case:
    before, real = (Forecast(part.load_kw, part.pv_kw) for part in (setting.history, setting.day))
    rows = list(units(rural1.homes_on(setting.day)))
    view = View.of(rows, records(before, setting), real)
    truth, grid, tables = view.truth, Grid(rural1.network()), rural1.network()
    reactive = _by_bus(grid, [load["bus"] for load in tables["load"]], setting.day.load_kvar.T)
    room = np.sqrt((_USABLE * grid.rating_kva) ** 2 - reactive.sum(axis=1) ** 2)
    limits = Limits(-room[None], room[None])
    tariffs = Tariffs(*(np.broadcast_to(price, truth.load_kw.shape) for price in rural1.prices()))
    free, each = Limits.none(1, truth.isps), np.arange(truth.homes)
    losses = _losses(rows, int(given["drop_out_isp"].value), truth.isps)
    begin = int(given["outage_isp"].value)
    outage = Outage(begin, begin + int(given["outage_isps"].value), given["outage_eur_per_kwh"].value)
    kept = {risk: _kept(limits, *_margins(rows, before, setting, risk)) for risk in _RISKS}

    def within(risk: float, losses: tuple[Loss, ...] = (), outage: Outage | None = None) -> Lived:
        return live(
            truth,
            view.outlook,
            kept[risk],
            tariffs,
            every=_EVERY,
            pools=each,
            held=limits,
            losses=losses,
            outage=outage,
        )

    best = optimiser.plan(truth, limits, tariffs, gap=1e-5)
    by_risk = {risk: within(risk) for risk in _RISKS}
    lived = {
        "idle": unmanaged(truth, battery=False),
        "free": live(truth, view.outlook, free, tariffs, every=_EVERY, pools=each),
        "limited": by_risk[_RISK],
        "stressed": within(_RISK, losses, outage),
        "foresight": planned(truth, best),
    }
    lived |= {f"risk {risk:g}": day for risk, day in by_risk.items()}
    buses = [unit.home.bus for unit in rows]
    flows = {name: grid.run(_by_bus(grid, buses, day.net_kw), reactive) for name, day in lived.items()}
    return _Case(setting, view, rows, limits, kept[_RISK], losses, outage, lived, flows, grid.rating_kva, best)


def _by_bus(grid: Grid, buses: list[int], values: Floats) -> Floats:
    """(T, buses) sums of values (K,T) that belong to `buses` (K)."""
    out = np.zeros((values.shape[1], len(grid.buses)))
    for bus, row in zip(buses, values, strict=True):
        out[:, grid.buses.index(bus)] += row
    return out


def _kept(limits: Limits, below: Floats, above: Floats) -> Limits:
    """Limits with a margin, which never asks for more than standstill."""
    return Limits(np.minimum(limits.lo_kw + below, 0.0), np.maximum(limits.hi_kw - above, 0.0))


def _margins(rows: list[Unit], before: Forecast, setting: Setting, risk: float) -> tuple[Floats, Floats]:
    """How far the homes' net power may come out below and above its forecast an hour before, kW per ISP."""
    loads = before.load_kw[:, [unit.home.load for unit in rows if unit.first]]
    known = np.hstack([loads, -before.pv_kw])
    return margins(History(CALENDAR, records(before, setting).first, known), ahead=_EVERY, risk=risk)


def _losses(rows: list[Unit], isp: int, isps: int) -> tuple[Loss, ...]:
    """The largest battery from `isp` on for good, and the home with most PV out of reach for two hours."""
    battery = int(np.argmax([unit.battery.p_max_w if unit.battery else 0 for unit in rows]))
    roof = int(np.argmax([unit.pv.p_max_w if unit.pv else 0 for unit in rows]))
    return (
        Loss(isp, isps, battery, "battery", Reach.OFF),
        Loss(isp + 2, min(isp + 2 + _AWAY_ISPS, isps), roof, None, Reach.AUTONOMOUS),
    )


# --- what is shown ----------------------------------------------------------------------------


def _indicators(case: _Case) -> list[Indicator]:
    def each(measure: Callable[[str], float]) -> dict[str, float]:
        return {name: measure(name) for name in VARIANTS}

    nothing = dict.fromkeys(VARIANTS, np.nan)
    flow = case.flows
    return [
        Indicator(
            "congested",
            "Congested quarter-hours",
            "ISPs",
            "transformer or a line beyond its rating, by power flow",
            each(lambda n: float(flow[n].congested.sum())),
            0,
        ),
        Indicator(
            "beyond",
            "Energy beyond the limit",
            "kWh",
            f"what flows beyond {_USABLE:.0%} of the transformer's rating, reactive power deducted",
            each(case.beyond_kwh),
        ),
        Indicator(
            "loading",
            "Transformer loading",
            "%",
            "largest apparent power over rating",
            each(lambda n: 100 * float(flow[n].trafo_loading.max())),
        ),
        Indicator(
            "line_loading",
            "Line loading",
            "%",
            "largest current over rating",
            each(lambda n: 100 * float(flow[n].line_loading.max())),
        ),
        Indicator(
            "voltage_high", "Highest voltage", "pu", "of all buses", each(lambda n: float(flow[n].voltage_pu.max())), 3
        ),
        Indicator(
            "voltage_low", "Lowest voltage", "pu", "of all buses", each(lambda n: float(flow[n].voltage_pu.min())), 3
        ),
        Indicator(
            "peak",
            "Peak of the net",
            "kW",
            "largest quarter-hour mean of all homes, either way",
            each(lambda n: peak_kw(case.lived[n].net_kw.sum(axis=0))),
        ),
        Indicator("curtailed", "PV curtailed", "kWh", "PV that was there and not used", each(case.curtailed_kwh)),
        Indicator(
            "unserved",
            "Energy not served in the outage",
            "kWh",
            "load shed in the island; without one, all that consumers would have used meanwhile",
            {**each(case.unserved_kwh), "foresight": np.nan},
            2,
        ),
        Indicator(
            "cost",
            "Cost of the homes",
            "EUR",
            "bills, battery wear, and what stores end the day with below or above their start",
            each(case.cost),
            2,
        ),
        Indicator(
            "bound",
            "Certified lower bound of the cost",
            "EUR",
            "no plan within the limit costs less, with every device and the grid there all day (dual bound)",
            {**nothing, "foresight": case.best.bound_eur},
            2,
        ),
    ]


def _charts(case: _Case) -> list[Chart]:
    named = {"free": "each for itself", "limited": "within the limit", "stressed": "with drop-outs and outage"}
    net = {name: case.lived[name].net_kw.sum(axis=0) for name in VARIANTS}
    lo, hi = case.limits.lo_kw[0], case.limits.hi_kw[0]
    flow = case.flows
    dark = f"{_clock(case.outage.isp)} to {_clock(case.outage.until)}"
    return [
        Chart(
            "Net power of all homes",
            "kW",
            (
                Line("nobody plans", net["idle"].tolist()),
                *(Line(label, net[name].tolist()) for name, label in named.items()),
                Line("limit", lo.tolist(), limit=True),
                Line("limit with margin", case.planned_limits.lo_kw[0].tolist(), limit=True),
                Line("limit", hi.tolist(), limit=True),
            ),
            f"Import is positive. With drop-outs and outage the net is an island from {dark}.",
        ),
        Chart(
            "Transformer loading",
            "%",
            (
                Line("nobody plans", (100 * flow["idle"].trafo_loading).tolist()),
                *(Line(label, (100 * flow[name].trafo_loading).tolist()) for name, label in named.items()),
                Line("rating", [100.0] * len(lo), limit=True),
            ),
        ),
        Chart(
            "Highest voltage of any bus",
            "pu",
            (
                Line("nobody plans", flow["idle"].voltage_pu.max(axis=1).tolist()),
                *(Line(label, flow[name].voltage_pu.max(axis=1).tolist()) for name, label in named.items()),
            ),
        ),
        Chart(
            "Energy in all batteries",
            "kWh",
            tuple(
                Line(label, case.lived[name].battery_kwh.sum(axis=0).tolist())
                for name, label in (("idle", "nobody plans"), *named.items(), ("foresight", "knowing the day"))
            ),
        ),
    ]


def _clock(isp: int) -> str:
    minutes = round(isp * _H * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _events(case: _Case) -> Table:
    load, sun = case.view.errors
    rows = [
        ("00:00", f"planned on a forecast with nMAE {load:.2f} (load) and {sun:.2f} (PV), and anew every hour"),
        *(
            (
                _clock(loss.isp),
                f"{case.units[loss.member].home.id}: {'its battery dies' if loss.device else 'out of reach'}"
                + (f" until {_clock(loss.until)}" if loss.until < len(case.limits.lo_kw[0]) else ""),
            )
            for loss in case.losses
        ),
        (_clock(case.outage.isp), "the grid is gone; the net goes on as an island of its PV and batteries"),
        (_clock(case.outage.until), "connected again"),
    ]
    return Table("What happens in the variant 'stressed'", ("at", "event"), tuple(rows))


def _risks(case: _Case) -> Table:
    rows = []
    for risk in _RISKS:
        name = f"risk {risk:g}"
        flow = case.flows[name]
        figures = (case.cost(name), case.curtailed_kwh(name), 100 * float(flow.trafo_loading.max()))
        rows.append((f"{risk:.1%}", *(f"{value:.1f}" for value in figures), f"{int(flow.congested.sum())}"))
    return Table(
        "What a margin on the limit costs",
        ("risk at either side", "cost, EUR", "PV curtailed, kWh", "loading, %", "congested ISPs"),
        tuple(rows),
        "50 % is a margin of the median error. Without a margin the limit is held between plans, by curtailing.",
    )


def _elements(case: _Case) -> Table:
    before, after = case.flows["idle"], case.flows["stressed"]
    rows = []
    buses = sorted({unit.home.bus for unit in case.units})
    grid = [bus["id"] for bus in rural1.network()["bus"]]
    for bus in buses:
        k = grid.index(bus)
        low = (before.voltage_pu[:, k].min(), after.voltage_pu[:, k].min())
        high = (before.voltage_pu[:, k].max(), after.voltage_pu[:, k].max())
        rows.append((f"bus {bus}", f"{low[0]:.3f}", f"{low[1]:.3f}", f"{high[0]:.3f}", f"{high[1]:.3f}"))
    return Table(
        "Voltages by power flow, pu",
        ("where", "lowest before", "lowest after", "highest before", "highest after"),
        tuple(rows),
        "Before: nobody plans. After: planned within the limit, with drop-outs and outage.",
    )


def _failures(case: _Case) -> list[str]:
    out = []
    if not case.flows["idle"].congested.any():
        out.append("the day shows no congestion before, so nothing was proved")
    left = {name: int(case.flows[name].congested.sum()) for name in ("limited", "stressed")}
    out += [f"{name}: {count} congested quarter-hours remain" for name, count in left.items() if count]
    if case.cost("foresight") < case.best.bound_eur - 1e-6:
        out.append("a cost below its lower bound")
    return out


# --- the business case ----------------------------------------------------------------------------

_ROWS = (
    Row("home_cost", "EUR/d", "cost_limited - cost_free", "what keeping the limit costs the homes on this day"),
    Row(
        "payment",
        "EUR/d",
        "home_cost * (1 + aggregator_share) + moved * goodwill_eur_per_kwh",
        "what the grid operator pays for this day",
    ),
    Row("flexibility", "EUR/a", "payment * congested_days_per_year", "a year, as if every such day were the worst"),
    Row("platform", "EUR/a", "members * platform_eur_per_home_year", "running it for all homes"),
    Row(
        "reinforcement",
        "EUR/a",
        "transformer_eur * interest_rate / (1 - (1 + interest_rate) ** -grid_life_years)",
        "a larger transformer as an annuity, saved each year it is put off",
    ),
    Row(
        "islanding",
        "EUR/a",
        "(unserved_without - unserved_island) * outage_eur_per_kwh * outages_per_year",
        "outages that the homes ride through",
    ),
    Row(
        "operator_net", "EUR/a", "reinforcement - flexibility - platform", "what the grid operator saves by flexibility"
    ),
    Row(
        "prosumer", "EUR/a", "moved * goodwill_eur_per_kwh * congested_days_per_year / members", "paid beyond its cost"
    ),
    Row(
        "system_net",
        "EUR/a",
        "(reinforcement + islanding - home_cost * congested_days_per_year - platform) / members",
        "per prosumer and year, all parties together",
    ),
)
_FLOWS = (
    Flow("grid operator", "aggregator", "flexibility", "orders on congested days"),
    Flow("grid operator", "aggregator", "platform", "availability: forecasts, metering data, settlement"),
    Flow("aggregator", "each prosumer", "prosumer", "for what it moves, beyond what that costs it"),
    Flow("nobody", "supplier of transformers", "reinforcement", "not paid while it is put off"),
)


def _business(case: _Case, given: Mapping[str, Assumption]) -> BusinessCase:
    moved = case.beyond_kwh("free") - case.beyond_kwh("limited")
    return business_case(
        "The grid operator can build, or pay for flexibility on the days that need it. What it costs the homes includes"
        " forecast errors and margins, but neither drop-outs nor the outage, which come either way. The worst day of"
        " the year stands for all congested ones, so flexibility is rather priced too high than too low.",
        _ROWS,
        given,
        {
            "cost_free": (case.cost("free"), "EUR/d", "cost with each home planning for itself"),
            "cost_limited": (case.cost("limited"), "EUR/d", "cost planned within the limit on forecasts"),
            "moved": (moved, "kWh/d", "energy beyond the limit that was moved or avoided"),
            "unserved_without": (case.unserved_kwh("limited"), "kWh", "not served in the outage without an island"),
            "unserved_island": (case.unserved_kwh("stressed"), "kWh", "not served in the island"),
            "members": (float(case.view.truth.homes), "1", "members"),
        },
        _FLOWS,
        ("transformer_eur", "congested_days_per_year", "platform_eur_per_home_year"),
        "system_net",
    )


_METHOD = (
    "Limits: 97 % of the transformer's rating, reactive power deducted, both ways. Plans keep a margin from them that"
    f" errors of an hour-old forecast of the net power exceed with a probability of {_RISK:.0%} at either side"
    " (back-tested over the last 14 days, by the time of day).",
    "Plans are made on forecasts from the days before, and anew every hour and at every event. Between plans the limit"
    " is held by batteries, then by curtailing PV or pausing cars and heat pumps.",
    "An outage is known when it begins, with its end. The island is kept in balance by batteries, then by curtailing"
    " PV, pausing cars, pausing heat pumps, and shedding load in proportion, in this order. Its frequency and losses"
    " are not modelled; a battery that forms the grid is presumed.",
    "Power flow: Newton-Raphson on the whole net, 96 steps, with what really flowed at every bus. The bound is"
    " certified by duality for who knows the whole day and loses nothing.",
)
_DATA = (
    "SimBench net 1-LV-rural1--2-sw: 160 kVA, 15 buses, 13 connections; the day of its highest PV export, 20 May 2016.",
    *(text[0].upper() + text[1:] + "." for text in rural1.ADDED[:-1]),
    "A synthetic benchmark year, not metering. Drop-outs and the outage are invented.",
)
