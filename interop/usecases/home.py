"""Use case `home`: one home's appliances, car, heat pump, battery and PV against a tariff.

Load and heat demand are those of a SimBench household, PV is the one of its roof scaled down; car, battery and wet
appliances are assumed. Days of both seasons are lived one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import optimiser
from interop.aggregator.homes import Battery, Charger, HeatPump, Home, Pv, Stay, units
from interop.scenarios import rural1
from interop.usecases.assumptions import Assumption, Assumptions
from interop.usecases.business import HOME
from interop.usecases.days import CALENDAR, SEASONS, Setting, View, columns, last_days, records, yearly
from interop.usecases.measures import (
    bills,
    imported_kwh,
    leftover_eur,
    peak_kw,
    self_consumption,
    self_sufficiency,
)
from interop.usecases.play import Lived, live, planned, unmanaged
from interop.usecases.report import Chart, Indicator, Line, Report, Table
from interop.usecases.sheet import BusinessCase, business_case
from optimiser import Appliances, Limits, Portfolio, Tariffs

__all__ = ["VARIANTS", "play"]

Floats = NDArray[np.float64]
_LOADS, _ROOF, _ROOF_KW = (3, 26), (3,), 23.0
_HEAT_W = 2000
_H = CALENDAR.isp_hours
VARIANTS = {
    "idle": "nobody plans, the battery idles",
    "rule": "nobody plans, the battery stores what the roof has over",
    "managed": "planned on forecasts, anew every hour",
    "foresight": "planned knowing the whole day",
}
_DISHES = np.array([0.35, 0.05, 0.05, 0.05, 0.05, 0.3, 0.1, 0.05])
_WASH = np.array([0.1, 0.5, 0.15, 0.1, 0.05, 0.1])


@dataclass(frozen=True, eq=False)
class _Day:
    setting: Setting
    view: View
    lived: Mapping[str, Lived]
    bound_eur: float

    def cost(self, variant: str) -> float:
        """Energy, wear and what the stores lack or have over, EUR."""
        buy, sell = rural1.prices()
        day = self.lived[variant]
        return float((bills(day.net_kw, buy, sell, _H) + day.wear_eur + leftover_eur(day.leftover_kwh, buy, sell))[0])


def play(assumptions: Assumptions, days: int = 7) -> Report:
    """Live the last `days` days of each season in every variant."""
    given = assumptions.of("home")
    lived = [_live(setting, given) for season in SEASONS for setting in last_days(season, days)]
    seasons = [day.setting.season for day in lived]
    costs = {name: [day.cost(name) for day in lived] for name in VARIANTS}
    peaks = {name: max(peak_kw(day.lived[name].net_kw[0]) for day in lived) for name in VARIANTS}
    year = {name: yearly(values, seasons, given) for name, values in costs.items()}
    certified = yearly([day.bound_eur for day in lived], seasons, given)
    return Report(
        name="home",
        title="One home against its tariff",
        lead=(
            f"A household with {given['pv_kwp'].value:g} kWp, a battery of {given['battery_kwh'].value:g} kWh, a car, a"
            f" heat pump and two wet appliances, on days of spring and of winter ({days} each). Planning saves"
            f" {year['idle'] - year['managed']:.0f} EUR a year against doing nothing and"
            f" {year['rule'] - year['managed']:.0f} EUR against a battery that only stores surplus;"
            f" nobody could save more than {year['idle'] - certified:.0f} EUR."
        ),
        variants=VARIANTS,
        indicators=tuple(_indicators(lived, year, peaks, certified)),
        charts=tuple(chart for season in SEASONS for chart in _charts(_last(lived, season))),
        tables=(_table(lived),),
        business=_business(given, year, peaks),
        method=_METHOD,
        data=_data(given),
        notice=rural1.NOTICE,
        checked="the car is charged, no cost lies below its bound",
        failures=tuple(_failures(lived)),
    )


# --- the home ----------------------------------------------------------------------------


def _home(given: Mapping[str, Assumption]) -> Home:
    value = {name: entry.value for name, entry in given.items()}
    energy, arrival = round(value["battery_kwh"] * 1000), int(value["ev_arrives_h"] / _H)
    isps = round(24 / _H)
    return Home(
        id="home",
        bus=13,
        connection="ean.871690000000000001",
        load=0,
        chargers=(
            Charger(
                "car",
                0,
                round(value["ev_kw"] * 1000),
                (Stay(arrival + 1, isps, round(value["ev_kwh_per_day"] * 1000)),),
            ),
        ),
        heat_pumps=(HeatPump("heat-pump", 1, _HEAT_W, 2 * _HEAT_W),),
        pvs=(Pv("pv", 0, round(value["pv_kwp"] * 1000)),),
        batteries=(
            Battery(
                "battery",
                round(value["battery_kw"] * 1000),
                energy,
                round(0.3 * energy),
                round(0.3 * energy),
                0.95,
                value["battery_wear_eur_per_kwh"],
            ),
        ),
    )


def _appliances(given: Mapping[str, Assumption]) -> Appliances:
    runs = ((given["dishwasher_kwh"].value, _DISHES, 13.0, 22.0), (given["washing_kwh"].value, _WASH, 8.0, 18.0))
    profile = np.zeros((len(runs), max(len(shape) for _, shape, _, _ in runs)))
    for row, (energy, shape, _, _) in zip(profile, runs, strict=True):
        row[: len(shape)] = energy * shape / _H
    return Appliances(
        home=np.zeros(len(runs), np.int64),
        first=np.array([round(begin / _H) for _, _, begin, _ in runs]),
        last=np.array([round(end / _H) - len(shape) for _, shape, _, end in runs]),
        length=np.array([len(shape) for _, shape, _, _ in runs]),
        profile_kw=profile,
    )


def _live(setting: Setting, given: Mapping[str, Assumption]) -> _Day:
    scale = given["pv_kwp"].value / _ROOF_KW
    before, real = (columns(part, _LOADS, _ROOF, scale) for part in (setting.history, setting.day))
    appliances = _appliances(given)

    def dressed(portfolio: Portfolio) -> Portfolio:
        return replace(portfolio, appliances=appliances)

    view = View.of(list(units((_home(given),))), records(before, setting), real, dressed)
    truth = view.truth
    buy, sell = rural1.prices()
    tariffs, free = Tariffs(buy[None], sell[None]), Limits.none(1, truth.isps)
    best = optimiser.plan(truth, free, tariffs, gap=1e-5)
    lived = {
        "idle": unmanaged(truth, battery=False),
        "rule": unmanaged(truth, battery=True),
        "managed": live(truth, view.outlook, free, tariffs, every=4, pools=np.zeros(1, np.int64)),
        "foresight": planned(truth, best),
    }
    return _Day(setting, view, lived, best.bound_eur)


# --- what is shown ----------------------------------------------------------------------------


def _indicators(
    lived: Sequence[_Day], year: Mapping[str, float], peaks: Mapping[str, float], certified: float
) -> list[Indicator]:
    def each(measure: Callable[[Lived], float], over: Callable[[list[float]], float]) -> dict[str, float]:
        return {name: over([measure(day.lived[name]) for day in lived]) for name in VARIANTS}

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    reach = {name: (year["idle"] - value) / (year["idle"] - certified) for name, value in year.items()}
    generated = each(lambda d: float(d.portfolio.pv_kw.sum()) * _H, mean)
    return [
        Indicator(
            "cost",
            "Cost",
            "EUR/a",
            "energy bought less energy sold, battery wear, and what stores end the day with below (at the mean buying"
            " price) or above (at the mean selling price) their start; both seasons' mean days make a year",
            year,
            0,
        ),
        Indicator(
            "bound",
            "Certified lower bound of the cost",
            "EUR/a",
            "no plan of these days costs less, whatever it knows (dual bound)",
            {name: certified if name == "foresight" else np.nan for name in VARIANTS},
            0,
        ),
        Indicator(
            "reached",
            "Possible saving reached",
            "%",
            "(cost idle - cost) / (cost idle - bound)",
            {name: 100 * value for name, value in reach.items()},
        ),
        Indicator(
            "self_consumption",
            "Self-consumption",
            "%",
            "share of the PV energy that is not exported, mean of the days",
            each(lambda d: 100 * self_consumption(d.net_kw[0], d.portfolio.pv_kw[0], _H), mean),
        ),
        Indicator(
            "self_sufficiency",
            "Self-sufficiency",
            "%",
            "share of the consumption that is not imported, mean of the days",
            each(lambda d: 100 * self_sufficiency(d.net_kw[0], d.used_kw[0], _H), mean),
        ),
        Indicator(
            "imported",
            "Import",
            "kWh/d",
            "energy taken from the grid, mean of the days",
            each(lambda d: imported_kwh(d.net_kw[0], _H), mean),
        ),
        Indicator("generated", "PV available", "kWh/d", "what the roof could give, mean of the days", generated),
        Indicator("peak", "Peak at the connection", "kW", "largest quarter-hour mean, either way", peaks),
        Indicator(
            "ev_missing",
            "Car not charged",
            "kWh",
            "what the car lacked at its departure, worst day",
            each(lambda d: float(d.ev_missing_kwh.max()), max),
            2,
        ),
        Indicator(
            "comfort",
            "Comfort missed",
            "kWh",
            "how far the heat store fell below two hours of the heat pump's power, worst quarter-hour",
            each(lambda d: float(d.comfort_missing_kwh.max()), max),
            2,
        ),
    ]


def _last(lived: Sequence[_Day], season: str) -> _Day:
    return [day for day in lived if day.setting.season == season][-1]


def _charts(day: _Day) -> list[Chart]:
    managed, rule = day.lived["managed"], day.lived["rule"]
    buy, _ = rural1.prices()
    date = f"{day.setting.period:%-d %B %Y}"
    return [
        Chart(
            f"{date}: power at the connection",
            "kW",
            (
                Line("rule", rule.net_kw[0].tolist()),
                Line("managed", managed.net_kw[0].tolist()),
                Line("foresight", day.lived["foresight"].net_kw[0].tolist()),
            ),
            "Import is positive.",
        ),
        Chart(
            f"{date}: what the planned home did",
            "kW",
            (
                Line("PV", (-managed.pv_kw[0]).tolist()),
                Line("battery", managed.battery_kw[0].tolist()),
                Line("car", managed.ev_kw[0].tolist()),
                Line("heat pump", managed.hp_kw[0].tolist()),
                Line("appliances", managed.app_kw[0].tolist()),
            ),
            f"PV and a battery that gives are below zero. Buying costs {buy.min():.2f} to {buy.max():.2f} EUR/kWh,"
            " dearest at 18:30.",
        ),
        Chart(
            f"{date}: energy in the battery",
            "kWh",
            (
                Line("rule", rule.battery_kwh[0].tolist()),
                Line("managed", managed.battery_kwh[0].tolist()),
                Line("foresight", day.lived["foresight"].battery_kwh[0].tolist()),
            ),
        ),
    ]


def _table(lived: Sequence[_Day]) -> Table:
    rows = []
    for day in lived:
        load, sun = day.view.errors
        costs = [f"{day.cost(name):.2f}" for name in VARIANTS]
        rows.append(
            (
                f"{day.setting.period}",
                *costs,
                f"{day.bound_eur:.2f}",
                f"{load:.2f}",
                f"{sun:.2f}" if np.isfinite(sun) else "no sun",
            )
        )
    header = ("day", *VARIANTS, "bound", "load nMAE", "PV nMAE")
    return Table(
        "Day by day, EUR",
        header,
        tuple(rows),
        "nMAE: mean absolute error of the day-ahead forecast over the mean of what came.",
    )


def _failures(lived: Sequence[_Day]) -> list[str]:
    out = []
    for day in lived:
        managed = day.lived["managed"]
        if managed.ev_missing_kwh.max() > 1e-6:
            out.append(f"{day.setting.period}: the car lacks {managed.ev_missing_kwh.max():.2f} kWh")
        if day.cost("foresight") < day.bound_eur - 1e-6:
            out.append(f"{day.setting.period}: a cost below its lower bound")
    return out


def _business(given: Mapping[str, Assumption], year: Mapping[str, float], peaks: Mapping[str, float]) -> BusinessCase:
    return business_case(
        HOME,
        given,
        {
            "cost_rule": (year["rule"], "EUR/a", "cost with a battery that stores surplus"),
            "cost_managed": (year["managed"], "EUR/a", "cost planned on forecasts"),
            "peak_rule": (peaks["rule"], "kW", "peak with a battery that stores surplus"),
            "peak_managed": (peaks["managed"], "kW", "peak planned on forecasts"),
        },
    )


_METHOD = (
    "Each day is planned on forecasts made from the days before it (load: the mean of days that did best in a"
    " back-test; PV: the mean of the last week), and planned anew every hour with what was measured since.",
    "Between plans the battery keeps the connection from exporting what it would import, and the reverse.",
    "'foresight' is the optimiser with the day's truth: no forecast can do better. Its bound is certified by duality.",
    "Appliance starts are chosen by branch and bound.",
)


def _data(given: Mapping[str, Assumption]) -> tuple[str, ...]:
    return (
        "SimBench net 1-LV-rural1--2-sw: household load H0-B and heat pump Soil_Alternative_2 of bus 13; its PV profile"
        f" PV5, scaled from 23 kW to {given['pv_kwp'].value:g} kW.",
        "Added: car, battery and wet appliances as assumed below; the heat pump may run ahead of its profile, or behind"
        " it, by two hours of rated power.",
        "Tariff: 0.28 EUR/kWh with an evening peak of 0.06 and a noon dip of 0.03; feed-in 0.08 EUR/kWh.",
        "Spring: days up to 20 May 2016; winter: days up to 7 December 2016. A synthetic benchmark year, not metering.",
    )
