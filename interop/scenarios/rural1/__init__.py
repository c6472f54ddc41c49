"""Scenario `rural1`: SimBench net 1-LV-rural1--2-sw on the day of its highest PV export.

Network, profiles, ratings and which home owns what are SimBench's. What SimBench does not say was added, and `ADDED`
lists it; the result shows the list.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.aggregator.homes import Battery, Charger, HeatPump, Home, Pv, Stay
from interop.scenarios.scenario import Aggregator, Scenario, Series

__all__ = ["ADDED", "NOTICE", "homes_on", "load", "measured", "network", "prices"]

_FOLDER = Path(__file__).parent
_ISPS = 96

ADDED = (
    "batteries start the day at 30 % and must end it there (SimBench publishes no usable trajectory)",
    "wear of 0.02 EUR per kWh through a battery, one-way efficiency as published",
    "a charging session becomes a stay: from its first quarter-hour for twice its length, six hours at least, at most"
    " until the next session or midnight; its energy must be in by then",
    "a heat pump may run ahead of its profile, or behind it, by two hours of rated power",
    "PV can be curtailed",
    "tariffs: 0.28 EUR/kWh with an evening peak of 0.06 and a noon dip of 0.03; feed-in 0.08 EUR/kWh",
    "connection numbers are invented",
)
NOTICE = "Contains information from SimBench, made available under the Open Database License (ODbL) 1.0"


def network() -> dict[str, Any]:
    """The net's tables."""
    tables: dict[str, Any] = json.loads((_FOLDER / "network.json").read_text(encoding="utf-8"))
    return tables


def measured(season: str = "export") -> Series:
    """29 local days: "export" ends with 20 May 2016, the day of highest PV export, "winter" with 7 December 2016."""
    with np.load(_FOLDER / f"{season}.npz") as data:
        start = datetime.fromisoformat(str(data["utc_start"]))
        columns = [np.asarray(data[key], dtype=np.float64) for key in ("p_load_kw", "q_load_kvar", "p_pv_kw")]
    return Series(start, *columns)


def homes_on(day: Series) -> tuple[Home, ...]:
    """The homes with the charging stays of that day."""
    tables = network()
    return tuple(_home(load, tables, day) for load in tables["load"] if load["kind"] == "base")


def prices() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Buying and selling price per ISP, EUR/kWh: see `ADDED`."""
    hours = (np.arange(_ISPS) + 0.5) / 4
    evening = np.exp(-0.5 * ((hours - 18.5) / 2) ** 2)
    noon = np.exp(-0.5 * ((hours - 13) / 2) ** 2)
    return 0.28 + 0.06 * evening - 0.03 * noon, np.full(_ISPS, 0.08)


def load() -> Scenario:
    """The day of highest export, after four weeks of history."""
    whole = measured()
    history, day = whole.part(0, whole.days - 1), whole.part(whole.days - 1, whole.days)
    homes = homes_on(day)
    buy, sell = prices()
    return Scenario(
        name="rural1",
        title="SimBench 1-LV-rural1--2-sw, 160 kVA, 20 May 2016",
        timezone="Europe/Berlin",
        period=date(2016, 5, 20),
        congestion_point="ea1.2016-05.de.simbench:1-lv-rural1-2-sw.trafo-1",
        network=network(),
        homes=homes,
        history=history,
        day=day,
        buy_eur_per_kwh=buy,
        sell_eur_per_kwh=sell,
        notice=NOTICE,
        added=ADDED,
        folder=_FOLDER,
        aggregators=(Aggregator("agr", "agr.example.org", tuple(home.id for home in homes)),),
    )


def _home(base: dict[str, Any], network: dict[str, Any], day: Series) -> Home:
    bus = base["bus"]
    home = f"home-{bus:02d}"
    here = [load for load in network["load"] if load["bus"] == bus]
    return Home(
        id=home,
        bus=bus,
        connection=f"ean.8716900{bus:011d}",
        load=base["id"],
        chargers=tuple(
            Charger(f"{home}-ev-{load['id']}", load["id"], peak, _stays(profile, peak))
            for load in here
            if load["kind"] == "ev"
            for profile in [day.load_kw[:, load["id"]]]
            for peak in [_watts(max(load["p_rated_kw"], profile.max()))]
        ),
        heat_pumps=tuple(
            HeatPump(f"{home}-hp-{load['id']}", load["id"], peak, 2 * peak)
            for load in here
            if load["kind"] == "hp"
            for peak in [_watts(max(load["p_rated_kw"], day.load_kw[:, load["id"]].max()))]
        ),
        pvs=tuple(
            Pv(f"pv-{pv['id'] + 1}", pv["id"], _watts(pv["p_rated_kw"])) for pv in network["pv"] if pv["bus"] == bus
        ),
        batteries=tuple(
            Battery(
                id=f"battery-{unit['id'] + 1}",
                p_max_w=_watts(unit["p_charge_max_kw"]),
                capacity_wh=_watts(unit["energy_kwh"]),
                initial_wh=_watts(0.3 * unit["energy_kwh"]),
                final_min_wh=_watts(0.3 * unit["energy_kwh"]),
                efficiency=unit["efficiency_fraction"],
                wear_eur_per_kwh=0.02,
            )
            for unit in network["storage"]
            if unit["bus"] == bus
        ),
    )


def _stays(profile_kw: NDArray[np.float64], p_max_w: int) -> tuple[Stay, ...]:
    """Charging sessions as stays; see `ADDED`. ISPs count from 1."""
    on = np.flatnonzero(np.diff(np.concatenate([[0], profile_kw > 1e-6, [0]]).astype(int)))
    runs = list(zip(on[::2].tolist(), on[1::2].tolist(), strict=True))
    stays = []
    for (begin, end), (following, _) in pairwise([*runs, (_ISPS, _ISPS)]):
        last = min(max(end, begin + max(2 * (end - begin), 24)), following)
        energy = profile_kw[begin:end].sum() / 4 * 1000
        stays.append(Stay(begin + 1, last, round(min(energy, p_max_w * (last - begin) / 4))))
    return tuple(stays)


def _watts(kilowatts: float) -> int:
    return round(kilowatts * 1000)
