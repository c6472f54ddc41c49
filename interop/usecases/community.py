"""Use case `community`: the homes of one low-voltage net balanced and traded locally, and the gain shared.

The community's bill (import at the buying price as a whole, export at the selling price, a fee on what members take
from each other) is planned exactly: every member sells at the selling price and buys at that price and the fee, and
what the community imports as a whole costs the difference to the buying price, as a limit of 0 with that penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import optimiser
from interop.aggregator.forecast import Forecast
from interop.aggregator.homes import Unit, units
from interop.scenarios import rural1
from interop.usecases.assumptions import Assumption, Assumptions
from interop.usecases.business import COMMUNITY
from interop.usecases.days import CALENDAR, SEASONS, Setting, View, last_days, records, yearly
from interop.usecases.measures import (
    bills,
    community_bill,
    exchanged_kw,
    exported_kwh,
    imported_kwh,
    leftover_eur,
    peak_kw,
    self_consumption,
    self_sufficiency,
)
from interop.usecases.play import Lived, live, planned, unmanaged
from interop.usecases.report import Bars, Chart, Indicator, Line, Report, Table
from interop.usecases.sharing import Shares, clear, local_prices, share
from interop.usecases.sheet import BusinessCase, business_case
from optimiser import Limits, Tariffs

__all__ = ["VARIANTS", "joint_bill", "play"]

Floats = NDArray[np.float64]
_H = CALENDAR.isp_hours
_CENT = 0.005
VARIANTS = {
    "idle": "nobody plans, batteries idle",
    "alone": "each plans for itself, with its own supplier",
    "together": "planned as one on forecasts, anew every hour",
    "foresight": "planned as one knowing the whole day",
}


def joint_bill(buy: Floats, sell: Floats, homes: int, fee: Floats | float = 0.0) -> tuple[Limits, Tariffs]:
    """Limits and tariffs under which a plan's cost is the bill of all homes behind one meter; see `community_bill`.

    `fee` is at most buy - sell.
    """
    shape, none = (homes, len(sell)), np.full((1, len(sell)), -np.inf)
    tariffs = Tariffs(np.broadcast_to(sell + fee, shape), np.broadcast_to(sell, shape))
    return Limits(none, np.zeros_like(none), np.maximum(buy - sell - fee, 0.0)[None]), tariffs


@dataclass(frozen=True, eq=False)
class _Day:
    setting: Setting
    view: View
    lived: Mapping[str, Lived]
    bound_eur: float
    fee: Floats

    def own_eur(self, variant: str) -> Floats:
        """Wear and what stores lack or have over, per member."""
        day = self.lived[variant]
        return np.asarray(day.wear_eur + leftover_eur(day.leftover_kwh, *rural1.prices()))

    def alone_eur(self, variant: str) -> Floats:
        """What each member pays where everyone has its own supplier."""
        return np.asarray(bills(self.lived[variant].net_kw, *rural1.prices(), _H) + self.own_eur(variant))

    def cost(self, variant: str) -> float:
        """What the community pays in all."""
        if variant in ("idle", "alone"):
            return float(self.alone_eur(variant).sum())
        bill = community_bill(self.lived[variant].net_kw, *rural1.prices(), _H, self.fee)
        return bill + float(self.own_eur(variant).sum())

    @property
    def fees_eur(self) -> float:
        """What the community pays on what its members exchange."""
        return float((exchanged_kw(self.lived["together"].net_kw) * self.fee).sum() * _H)

    @property
    def shares(self) -> Shares:
        """How the day's gain is shared."""
        cleared = clear(self.lived["together"].net_kw, *rural1.prices(), _H, self.fee) + self.own_eur("together")
        return share(self.alone_eur("alone"), cleared)


def play(assumptions: Assumptions, days: int = 2) -> Report:
    """Live the last `days` days of each season in every variant."""
    given = assumptions.of("community")
    lived = [_live(setting, given) for season in SEASONS for setting in last_days(season, days)]
    rows = list(units(rural1.homes_on(lived[0].setting.day)))
    seasons = [day.setting.season for day in lived]
    year = {name: yearly([day.cost(name) for day in lived], seasons, given) for name in VARIANTS}
    certified = yearly([day.bound_eur for day in lived], seasons, given)
    peaks = {name: max(peak_kw(day.lived[name].net_kw.sum(axis=0)) for day in lived) for name in VARIANTS}
    gain = year["alone"] - year["together"]
    fees = yearly([day.fees_eur for day in lived], seasons, given)
    return Report(
        name="community",
        title="A community that trades with itself",
        lead=(
            f"{len(rows)} members of one low-voltage net: some have the sun, others the batteries. Acting as one"
            f" (days of spring and of winter, {days} each) is worth {gain:.0f} EUR a year beyond what each can do"
            f" alone, {gain / len(rows):.0f} EUR per member, and nobody pays more than alone."
        ),
        variants=VARIANTS,
        indicators=tuple(_indicators(lived, year, peaks, certified)),
        charts=(*(c for season in SEASONS for c in _charts(_last(lived, season))), _bars(lived, rows, given)),
        tables=(_members(lived, rows, given), _daily(lived)),
        business=_business(given, year, peaks, fees, len(rows)),
        method=_METHOD,
        data=_DATA,
        notice=rural1.NOTICE,
        checked="no member loses, payments add up to the bill, cars are charged, no cost lies below its bound",
        failures=tuple(_failures(lived)),
    )


def _live(setting: Setting, given: Mapping[str, Assumption]) -> _Day:
    before, real = (Forecast(part.load_kw, part.pv_kw) for part in (setting.history, setting.day))
    view = View.of(list(units(rural1.homes_on(setting.day))), records(before, setting), real)
    truth = view.truth
    buy, sell = rural1.prices()
    own = Tariffs(*(np.broadcast_to(price, truth.load_kw.shape) for price in (buy, sell)))
    fee = np.minimum(given["local_fee_eur_per_kwh"].value, buy - sell)
    limits, tariffs = joint_bill(buy, sell, truth.homes, fee)
    free = Limits.none(1, truth.isps)
    best = optimiser.plan(truth, limits, tariffs, gap=1e-5)
    lived = {
        "idle": unmanaged(truth, battery=False),
        "alone": live(truth, view.outlook, free, own, every=4, pools=np.arange(truth.homes)),
        "together": live(truth, view.outlook, limits, tariffs, every=4, pools=np.zeros(truth.homes, np.int64)),
        "foresight": planned(truth, best),
    }
    return _Day(setting, view, lived, best.bound_eur, fee)


# --- what is shown ----------------------------------------------------------------------------


def _indicators(
    lived: Sequence[_Day], year: Mapping[str, float], peaks: Mapping[str, float], certified: float
) -> list[Indicator]:
    def each(measure: Callable[[Lived], float]) -> dict[str, float]:
        return {name: float(np.mean([measure(day.lived[name]) for day in lived])) for name in VARIANTS}

    nothing = dict.fromkeys(VARIANTS, np.nan)
    return [
        Indicator(
            "cost",
            "Cost of all members",
            "EUR/a",
            "bills (idle, alone: each its own; else one for all, with fees), battery wear, and what stores end the day"
            " with below or above their start; both seasons' mean days make a year",
            year,
            0,
        ),
        Indicator(
            "bound",
            "Certified lower bound of the cost",
            "EUR/a",
            "no plan of these days costs less behind one meter (dual bound)",
            {**nothing, "foresight": certified},
            0,
        ),
        Indicator(
            "self_consumption",
            "Self-consumption",
            "%",
            "share of the community's PV energy that is not exported from it, mean of the days",
            each(lambda d: 100 * self_consumption(d.net_kw.sum(axis=0), d.portfolio.pv_kw.sum(axis=0), _H)),
        ),
        Indicator(
            "self_sufficiency",
            "Self-sufficiency",
            "%",
            "share of the community's consumption that is not imported to it, mean of the days",
            each(lambda d: 100 * self_sufficiency(d.net_kw.sum(axis=0), d.used_kw.sum(axis=0), _H)),
        ),
        Indicator(
            "traded",
            "Taken from neighbours",
            "kWh/d",
            "in each quarter-hour the smaller of all members' imports and exports; paid for locally only where members"
            " act together",
            each(lambda d: float(exchanged_kw(d.net_kw).sum()) * _H),
        ),
        Indicator(
            "imported",
            "Import of the community",
            "kWh/d",
            "energy it takes as a whole",
            each(lambda d: imported_kwh(d.net_kw.sum(axis=0), _H)),
        ),
        Indicator(
            "exported",
            "Export of the community",
            "kWh/d",
            "energy it gives as a whole",
            each(lambda d: exported_kwh(d.net_kw.sum(axis=0), _H)),
        ),
        Indicator("peak", "Peak of the community", "kW", "largest quarter-hour mean, either way, of all days", peaks),
        Indicator(
            "worst_member",
            "Least gain of a member",
            "EUR/d",
            "alone less paid, for the member and the day where it is smallest",
            {**nothing, "together": min(float(day.shares.gain_eur.min()) for day in lived)},
            2,
        ),
    ]


def _last(lived: Sequence[_Day], season: str) -> _Day:
    return [day for day in lived if day.setting.season == season][-1]


def _charts(day: _Day) -> list[Chart]:
    date = f"{day.setting.period:%-d %B %Y}"
    buy, sell = rural1.prices()
    bought, sold = local_prices(day.lived["together"].net_kw, buy, sell, day.fee)
    return [
        Chart(
            f"{date}: net power of the community",
            "kW",
            tuple(Line(name, day.lived[name].net_kw.sum(axis=0).tolist()) for name in ("idle", "alone", "together")),
            "Import is positive.",
        ),
        Chart(
            f"{date}: local prices",
            "EUR/kWh",
            (
                Line("buyers pay", bought.tolist()),
                Line("sellers get", sold.tolist()),
                Line("supplier buys at", sell.tolist(), limit=True),
                Line("supplier sells at", buy.tolist(), limit=True),
            ),
            "What neighbours exchange changes hands half way between, each side bearing half of the local fee; the rest"
            " comes at the supplier's price.",
        ),
        Chart(
            f"{date}: energy in all batteries",
            "kWh",
            tuple(Line(name, day.lived[name].battery_kwh.sum(axis=0).tolist()) for name in VARIANTS),
        ),
    ]


def _per_year(lived: Sequence[_Day], given: Mapping[str, Assumption], values: Callable[[_Day], Floats]) -> Floats:
    """EUR a year per member."""
    seasons = [day.setting.season for day in lived]
    per_day = np.stack([values(day) for day in lived])
    return np.array([yearly(member.tolist(), seasons, given) for member in per_day.T])


def _names(rows: Sequence[Unit]) -> list[str]:
    return [unit.home.id if unit.first else f"{unit.home.id} b" for unit in rows]


def _bars(lived: Sequence[_Day], rows: Sequence[Unit], given: Mapping[str, Assumption]) -> Bars:
    alone, paid = (_per_year(lived, given, pick) for pick in (_alone, _paid))
    return Bars(
        "What members pay in a year",
        "EUR/a",
        tuple(_names(rows)),
        (Line("alone", alone.tolist()), Line("together", paid.tolist())),
        "Below zero: they earn.",
    )


def _alone(day: _Day) -> Floats:
    return day.shares.alone_eur


def _paid(day: _Day) -> Floats:
    return day.shares.paid_eur


def _members(lived: Sequence[_Day], rows: Sequence[Unit], given: Mapping[str, Assumption]) -> Table:
    alone, paid = (_per_year(lived, given, pick) for pick in (_alone, _paid))
    least = np.min([day.shares.gain_eur for day in lived], axis=0)
    table = []
    for n, unit in enumerate(rows):
        has = [
            f"PV {unit.pv.p_max_w / 1000:.0f} kW" if unit.pv else "",
            f"battery {unit.battery.capacity_wh / 1000:.0f} kWh" if unit.battery else "",
            "car" if unit.charger else "",
            "heat pump" if unit.heat_pump else "",
        ]
        figures = (alone[n], paid[n], alone[n] - paid[n])
        table.append((_names(rows)[n], ", ".join(filter(None, has)), *(f"{v:.0f}" for v in figures), f"{least[n]:.2f}"))
    return Table(
        "Members",
        ("member", "has", "alone, EUR/a", "pays, EUR/a", "gains, EUR/a", "least, EUR/d"),
        tuple(table),
        "A second car of a home ('b') is a member with a meter of its own.",
    )


def _daily(lived: Sequence[_Day]) -> Table:
    rows = []
    for day in lived:
        load, sun = day.view.errors
        costs = [f"{day.cost(name):.2f}" for name in VARIANTS]
        rows.append((f"{day.setting.period}", *costs, f"{day.bound_eur:.2f}", f"{load:.2f}", f"{sun:.2f}"))
    return Table(
        "Day by day, EUR",
        ("day", *VARIANTS, "bound", "load nMAE", "PV nMAE"),
        tuple(rows),
        "nMAE: mean absolute error of the day-ahead forecast over the mean of what came.",
    )


def _failures(lived: Sequence[_Day]) -> list[str]:
    out = []
    for day in lived:
        shares = day.shares
        if shares.gain_eur.min() < -1e-6:
            out.append(f"{day.setting.period}: a member loses {-shares.gain_eur.min():.2f} EUR")
        if abs(shares.paid_eur.sum() - day.cost("together")) > _CENT:
            out.append(f"{day.setting.period}: payments do not add up to the community's bill")
        if day.cost("foresight") < day.bound_eur - 1e-6:
            out.append(f"{day.setting.period}: a cost below its lower bound")
        missing = {name: float(day.lived[name].ev_missing_kwh.max()) for name in ("alone", "together")}
        out += [
            f"{day.setting.period}, {name}: a car lacks {kwh:.2f} kWh" for name, kwh in missing.items() if kwh > 1e-6
        ]
    return out


def _business(
    given: Mapping[str, Assumption], year: Mapping[str, float], peaks: Mapping[str, float], fees: float, members: int
) -> BusinessCase:
    return business_case(
        COMMUNITY,
        given,
        {
            "cost_alone": (year["alone"], "EUR/a", "cost with each planning for itself"),
            "cost_together": (year["together"], "EUR/a", "cost planned as one on forecasts"),
            "local_fees": (fees, "EUR/a", "fees on what members take from each other"),
            "peak_alone": (peaks["alone"], "kW", "peak with each planning for itself"),
            "peak_together": (peaks["together"], "kW", "peak planned as one"),
            "members": (float(members), "", "members"),
        },
    )


_METHOD = (
    "Each day is planned on forecasts made from the days before it and planned anew every hour with what was measured"
    " since. Between plans batteries stand in for whoever deviates where the community would import though it meant to"
    " export, or the reverse.",
    "Clearing at the mid-market rate: in each quarter-hour what neighbours exchange changes hands half way between the"
    " supplier's prices, both sides bearing half of the local fee; the rest comes at the supplier's, shared by all"
    " buyers or all sellers. Payments add up to the community's bill, and for the same powers nobody pays more than its"
    " supplier would charge, since both local prices lie between the supplier's.",
    "Redistribution: each member pays what it would have paid acting alone ('alone', on the same forecasts) less"
    " its share of the gain, in proportion to what clearing saves it. A gain of zero or more leaves nobody worse off.",
    "The bound is certified by duality for a community that knows the whole day.",
)
_DATA = (
    "SimBench net 1-LV-rural1--2-sw: 13 connections with 8 PV plants, 5 batteries, 7 cars, 8 heat pumps.",
    *(text[0].upper() + text[1:] + "." for text in rural1.ADDED[:-1]),
    "Spring: days up to 20 May 2016; winter: days up to 7 December 2016. A synthetic benchmark year, not metering.",
)
