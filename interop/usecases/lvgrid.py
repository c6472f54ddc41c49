"""Use case `lvgrid`: a grid operator manages the capacity of a low-voltage net by what its homes can move.

Homes plan within the transformer's limit, kept by a margin that forecast errors exceed with a stated probability. On
the last day, the one of the year's highest export, things break besides: at noon the largest battery dies and a home
with much PV is out of reach for a while; in the evening the grid is gone and the net lives on as an island. Power flow
judges what really flowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interop.aggregator.homes import Unit
from interop.scenarios import rural1
from interop.usecases.assumptions import Assumption, Assumptions
from interop.usecases.business import LVGRID
from interop.usecases.days import CALENDAR, last_days
from interop.usecases.measures import peak_kw
from interop.usecases.netday import USABLE, NetDay, Outcome
from interop.usecases.play import Loss, Outage
from interop.usecases.report import Chart, Indicator, Line, Report, Table
from interop.usecases.sheet import BusinessCase, business_case
from optimiser import Plan, Reach

__all__ = ["VARIANTS", "play"]

_H = CALENDAR.isp_hours
_RISK = 0.1
_RISKS = (0.5, _RISK, 0.025)
_AWAY_ISPS = 8
_CLASSES = {"L2": "farms without cattle", "H0": "households", "L1": "dairy farms"}
"""By SimBench profile, the first to be shed first."""
VARIANTS = {
    "idle": "nobody plans, batteries idle",
    "free": "each plans for its own bill, no limit",
    "limited": "planned within the limit on forecasts, anew every hour",
    "stressed": "the same with drop-outs and an outage",
    "foresight": "planned within the limit, knowing the whole day",
}


@dataclass(frozen=True, eq=False)
class _Case:
    """The last day in all variants and at all risks; the days before it as (day, free, limited)."""

    day: NetDay
    outcomes: Mapping[str, Outcome]
    by_risk: Mapping[float, Outcome]
    best: Plan
    losses: tuple[Loss, ...]
    outage: Outage
    days: Sequence[tuple[NetDay, Outcome, Outcome]]

    @property
    def congested_days(self) -> list[tuple[Outcome, Outcome]]:
        return [(free, limited) for _, free, limited in self.days if free.congested]

    @property
    def dark(self) -> slice:
        return slice(self.outage.isp, self.outage.until)

    def unserved_kwh(self, variant: str) -> float:
        """Load that is not served in the outage; all of it where nobody keeps an island."""
        lived = self.outcomes[variant].lived
        return float((lived.shed_kw if variant == "stressed" else lived.portfolio.load_kw)[:, self.dark].sum() * _H)


def play(assumptions: Assumptions, days: int = 3) -> Report:
    """Live the last `days` days of spring, the last of them in every variant."""
    given = assumptions.of("lvgrid")
    case = _live(days, given)
    outcomes = case.outcomes
    extra = {name: outcomes[name].cost_eur - outcomes["free"].cost_eur for name in ("limited", "foresight")}
    return Report(
        name="lvgrid",
        title="A net within its capacity",
        lead=(
            f"On {case.day.setting.period:%-d %B %Y} PV overloads the {case.day.grid.rating_kva:g} kVA transformer in"
            f" {outcomes['free'].congested} quarter-hours if every home plans for itself. Planned within the limit it"
            f" is overloaded in {outcomes['limited'].congested}, at {extra['limited']:.2f} EUR more for the homes"
            f" ({extra['foresight']:.2f} EUR for who knows the day). With the largest battery dead from noon on and a"
            f" home out of reach it is overloaded in {outcomes['stressed'].congested}; and when the grid is gone in the"
            f" evening, the island serves all but {case.unserved_kwh('stressed'):.0f} of"
            f" {case.unserved_kwh('limited'):.0f} kWh."
        ),
        variants=VARIANTS,
        indicators=tuple(_indicators(case)),
        charts=tuple(_charts(case)),
        tables=(_events(case), _served(case), _risks(case), _elements(case), _days(case)),
        business=_business(case, given),
        method=_METHOD,
        data=_DATA,
        notice=rural1.NOTICE,
        checked="where the limit is kept nothing is congested, the island balances, no cost lies below its bound",
        failures=tuple(_failures(case)),
    )


def _live(count: int, given: Mapping[str, Assumption]) -> _Case:
    *earlier, day = (NetDay.of(setting) for setting in last_days("export", count))
    isps = day.view.truth.isps
    losses = _losses(day.units, int(given["drop_out_isp"].value), isps)
    begin = int(given["outage_isp"].value)
    outage = Outage(begin, min(begin + int(given["outage_isps"].value), isps), _priority(day.units))
    by_risk = {risk: day.limited(risk) for risk in _RISKS}
    best, plan = day.foresight()
    outcomes = {
        "idle": day.idle(),
        "free": day.free(),
        "limited": by_risk[_RISK],
        "stressed": day.limited(_RISK, losses, outage),
        "foresight": best,
    }
    days = [(other, other.free(), other.limited(_RISK)) for other in earlier]
    days.append((day, outcomes["free"], outcomes["limited"]))
    return _Case(day, outcomes, by_risk, plan, losses, outage, days)


def _losses(rows: Sequence[Unit], isp: int, isps: int) -> tuple[Loss, ...]:
    """The largest battery from `isp` on for good, and the home with most PV out of reach for two hours."""
    battery = int(np.argmax([unit.battery.p_max_w if unit.battery else 0 for unit in rows]))
    roof = int(np.argmax([unit.pv.p_max_w if unit.pv else 0 for unit in rows]))
    return (
        Loss(isp, isps, battery, "battery", Reach.OFF),
        Loss(isp + 2, min(isp + 2 + _AWAY_ISPS, isps), roof, None, Reach.AUTONOMOUS),
    )


def _priority(rows: Sequence[Unit]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Of each member's load: higher is shed later."""
    kinds = {load["id"]: load["profile"].split("-")[0] for load in rural1.network()["load"]}
    return np.array([list(_CLASSES).index(kinds[unit.home.load]) for unit in rows], np.int64)


# --- what is shown ----------------------------------------------------------------------------


def _indicators(case: _Case) -> list[Indicator]:
    def each(measure: Callable[[Outcome], float]) -> dict[str, float]:
        return {name: float(measure(case.outcomes[name])) for name in VARIANTS}

    nothing = dict.fromkeys(VARIANTS, np.nan)
    unserved = {name: case.unserved_kwh(name) for name in VARIANTS if name != "foresight"}
    rows: list[tuple[str, str, str, str, Mapping[str, float], int]] = [
        (
            "congested",
            "Congested quarter-hours",
            "ISPs",
            "transformer or a line beyond its rating, by power flow",
            each(lambda o: o.congested),
            0,
        ),
        (
            "beyond",
            "Energy beyond the limit",
            "kWh",
            f"what flows beyond {100 * USABLE:.0f} % of the transformer's rating, reactive power deducted",
            each(lambda o: o.beyond_kwh),
            1,
        ),
        ("loading", "Transformer loading", "%", "largest apparent power over rating", each(lambda o: o.loading), 1),
        (
            "line_loading",
            "Line loading",
            "%",
            "largest current over rating",
            each(lambda o: 100 * o.flow.line_loading.max()),
            1,
        ),
        ("voltage_high", "Highest voltage", "pu", "of all buses", each(lambda o: o.flow.voltage_pu.max()), 3),
        ("voltage_low", "Lowest voltage", "pu", "of all buses", each(lambda o: o.flow.voltage_pu.min()), 3),
        (
            "peak",
            "Peak of the net",
            "kW",
            "largest quarter-hour mean of all homes, either way",
            each(lambda o: peak_kw(o.net_kw)),
            1,
        ),
        ("curtailed", "PV curtailed", "kWh", "PV that was there and not used", each(lambda o: o.curtailed_kwh), 1),
        (
            "unserved",
            "Load not served in the outage",
            "kWh",
            "what is shed in the island; without one, all load but cars and heat pumps",
            {**nothing, **unserved},
            1,
        ),
        (
            "missing",
            "Cars and heat stores short",
            "kWh",
            "what cars lacked at their departure and heat stores below their band, each home at its worst",
            each(lambda o: o.missing_kwh),
            1,
        ),
        (
            "cost",
            "Cost of the homes",
            "EUR",
            "bills, battery wear, and what stores end the day with below or above their start; load not served is not"
            " priced",
            each(lambda o: o.cost_eur),
            2,
        ),
        (
            "bound",
            "Certified lower bound of the cost",
            "EUR",
            "no plan within the limit costs less, with every device and the grid there all day (dual bound)",
            {**nothing, "foresight": case.best.bound_eur},
            2,
        ),
    ]
    return [Indicator(*row) for row in rows]


def _charts(case: _Case) -> list[Chart]:
    shown = ("idle", "free", "limited", "stressed")
    outcomes, limits = case.outcomes, case.day.limits
    margin = case.day.limits_with_margin(_RISK)
    dark = f"{_clock(case.outage.isp)} to {_clock(case.outage.until)}"

    def lines(
        names: Sequence[str], values: Callable[[Outcome], np.ndarray[tuple[int], np.dtype[np.float64]]]
    ) -> list[Line]:
        return [Line(name, values(outcomes[name]).tolist()) for name in names]

    return [
        Chart(
            "Net power of all homes",
            "kW",
            (
                *lines(shown, lambda o: o.net_kw),
                Line("limit", limits.lo_kw[0].tolist(), limit=True),
                Line("limit", limits.hi_kw[0].tolist(), limit=True),
                Line("limit with margin", margin.lo_kw[0].tolist(), limit=True),
            ),
            f"Import is positive. In 'stressed' the net is an island from {dark}; batteries must end the day as full as"
            " they began, hence the import before midnight.",
        ),
        Chart(
            "Transformer loading",
            "%",
            (
                *lines(shown, lambda o: 100 * o.flow.trafo_loading),
                Line("rating", [100.0] * limits.lo_kw.shape[1], limit=True),
            ),
        ),
        Chart("Highest voltage of any bus", "pu", tuple(lines(shown, lambda o: o.flow.voltage_pu.max(axis=1)))),
        Chart(
            "Energy in all batteries", "kWh", tuple(lines(list(VARIANTS), lambda o: o.lived.battery_kwh.sum(axis=0)))
        ),
    ]


def _clock(isp: int) -> str:
    minutes = round(isp * _H * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _events(case: _Case) -> Table:
    load, sun = case.day.view.errors
    isps = case.day.view.truth.isps
    rows = [
        ("00:00", f"planned on a forecast with nMAE {load:.2f} (load) and {sun:.2f} (PV), and anew every hour"),
        *(
            (
                _clock(loss.isp),
                f"{case.day.units[loss.member].home.id}: {'its battery dies' if loss.device else 'out of reach'}"
                + (f" until {_clock(loss.until)}" if loss.until < isps else ""),
            )
            for loss in case.losses
        ),
        (_clock(case.outage.isp), "the grid is gone; the net goes on as an island of its PV and batteries"),
        (_clock(case.outage.until), "connected again; import grows step by step for an hour"),
    ]
    return Table("What happens in the variant 'stressed'", ("at", "event"), tuple(rows))


def _served(case: _Case) -> Table:
    lived, rows = case.outcomes["stressed"].lived, []
    for k, name in reversed(list(enumerate(_CLASSES.values()))):
        of = case.outage.priority == k
        asked = float(lived.portfolio.load_kw[of, case.dark].sum() * _H)
        served = asked - float(lived.shed_kw[of, case.dark].sum() * _H)
        rows.append((name, f"{asked:.1f}", f"{served:.1f}", f"{served / asked:.0%}" if asked > 0 else "none asked"))
    return Table(
        "Who is served in the island",
        ("load, the most important first", "asked, kWh", "served, kWh", "share"),
        tuple(rows),
        "Load is shed in the reverse order. What is kept for later rests on forecasts, so it may come out short.",
    )


def _risks(case: _Case) -> Table:
    rows = []
    for risk, outcome in case.by_risk.items():
        figures = (outcome.cost_eur, outcome.curtailed_kwh, outcome.loading)
        rows.append((f"{risk:.1%}", *(f"{value:.1f}" for value in figures), f"{outcome.congested}"))
    return Table(
        "What a margin on the limit costs",
        ("risk at either side", "cost, EUR", "PV curtailed, kWh", "loading, %", "congested ISPs"),
        tuple(rows),
        "50 % is a margin of the median error. What a margin does not cover is held between plans: by batteries, then"
        " by curtailing.",
    )


def _elements(case: _Case) -> Table:
    before, after = (case.outcomes[name].flow.voltage_pu for name in ("idle", "limited"))
    rows = []
    for bus in sorted({unit.home.bus for unit in case.day.units}):
        k = case.day.grid.buses.index(bus)
        extremes = (before[:, k].min(), after[:, k].min(), before[:, k].max(), after[:, k].max())
        rows.append((f"bus {bus}", *(f"{value:.3f}" for value in extremes)))
    return Table(
        "Voltages by power flow, pu",
        ("where", "lowest before", "lowest after", "highest before", "highest after"),
        tuple(rows),
        "Before: 'idle'. After: 'limited'.",
    )


def _days(case: _Case) -> Table:
    rows = []
    for day, free, limited in case.days:
        extra, moved = limited.cost_eur - free.cost_eur, free.beyond_kwh - limited.beyond_kwh
        figures = (f"{moved:.1f}", f"{extra:.2f}", f"{limited.curtailed_kwh:.1f}", f"{day.view.errors[1]:.2f}")
        rows.append((f"{day.setting.period}", f"{free.congested}", f"{limited.congested}", *figures))
    return Table(
        "What keeping the limit costs, day by day",
        ("day", "congested before", "after", "moved, kWh", "cost, EUR", "PV curtailed, kWh", "PV nMAE"),
        tuple(rows),
        "Before: 'free'. After: 'limited'. nMAE: mean absolute error of the day-ahead forecast over the mean of what"
        " came. The business case takes the mean of the congested days.",
    )


def _failures(case: _Case) -> list[str]:
    out = []
    if not case.outcomes["idle"].congested:
        out.append("the day shows no congestion before, so nothing was proved")
    kept = {name: case.outcomes[name] for name in ("limited", "stressed")}
    kept |= {f"{day.setting.period}": limited for day, _, limited in case.days}
    out += [f"{name}: {o.congested} congested quarter-hours remain" for name, o in kept.items() if o.congested]
    if case.outcomes["foresight"].cost_eur < case.best.bound_eur - 1e-6:
        out.append("a cost below its lower bound")
    island = case.outcomes["stressed"].net_kw[case.dark]
    if np.abs(island).max() > 1e-6:
        out.append(f"the island is out of balance by {np.abs(island).max():.3f} kW")
    return out


def _business(case: _Case, given: Mapping[str, Assumption]) -> BusinessCase:
    pairs = case.congested_days
    cost = float(np.mean([limited.cost_eur - free.cost_eur for free, limited in pairs]))
    moved = float(np.mean([free.beyond_kwh - limited.beyond_kwh for free, limited in pairs]))
    return business_case(
        LVGRID,
        given,
        {
            "day_cost": (cost, "EUR/d", f"what 'limited' costs the homes more than 'free', mean of {len(pairs)} days"),
            "moved": (moved, "kWh/d", "energy beyond the limit that was moved or avoided, mean of the same days"),
            "unserved_without": (case.unserved_kwh("limited"), "kWh", "not served in the outage without an island"),
            "unserved_island": (case.unserved_kwh("stressed"), "kWh", "not served in the island"),
            "members": (float(len(case.day.units)), "", "members"),
        },
    )


_METHOD = (
    f"Limits: {100 * USABLE:.0f} % of the transformer's rating, reactive power deducted, both ways. Plans keep a margin"
    " from them that errors of an hour-old forecast of the net power exceed with a probability of"
    f" {100 * _RISK:.0f} % at either side (back-tested over the last 14 days, by the time of day).",
    "Plans are made on forecasts from the days before, and anew every hour and at every event. Between plans the limit"
    " is held by batteries, then by curtailing PV or pausing cars and heat pumps.",
    "An outage is known when it begins, with its end. The optimiser balances the island in every quarter-hour:"
    " batteries keep what they hold for the most important load of the hours to come, the rest is shed in the order of"
    " priority, and cars and heat pumps get what is left over. Frequency and losses in the island are not modelled, a"
    " battery that forms the grid is presumed, and power flow meanwhile has a source at the transformer for losses and"
    " reactive power.",
    "Power flow: Newton-Raphson on the whole net, 96 steps, with what really flowed at every bus. The bound is"
    " certified by duality for who knows the whole day and loses nothing.",
)
_DATA = (
    "SimBench net 1-LV-rural1--2-sw: 160 kVA, 15 buses, 13 connections; days up to 20 May 2016, the day of its highest"
    " PV export.",
    *(text[0].upper() + text[1:] + "." for text in rural1.ADDED[:-1]),
    "A synthetic benchmark year, not metering. Drop-outs, the outage and the order of priority are invented.",
)
