"""Everything a run needs on disk: configurations, keys, histories for the parties, profiles for the devices.

The parties' files hold history only. The devices' files hold the day as it will be; nothing but the simulated devices
and the final check reads them.
"""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from interop.aggregator.homes import Home, write_homes
from interop.demo.configure import configure
from interop.demo.parties import Party, cast
from interop.scenarios import Scenario

__all__ = ["World"]

_LEGACY = 3
"""This many of the PV plants speak the older SunSpec models (103, 120-124), the others the IEEE 1547 generation."""


class World:
    """A scenario laid out in a folder, its parties on free ports: the first dashboard on `dashboard` if free."""

    def __init__(self, scenario: Scenario, folder: Path, dashboard: int = 0) -> None:
        self.scenario = scenario
        self.folder = folder
        self.parties = cast(scenario, dashboard)
        self.clock = folder / "clock.json"
        zone = scenario.calendar.zone
        self.day_start, self.day_end = scenario.calendar.day_span(scenario.period)
        self.trade_start = datetime.combine(scenario.period - timedelta(days=1), time(10, 0), zone)

    @property
    def aggregators(self) -> list[Party]:
        return [party for party in self.parties if party.role == "AGR"]

    @property
    def dso(self) -> Party:
        return next(party for party in self.parties if party.role == "DSO")

    def party(self, name: str) -> Party:
        """The party of that name (its folder and configuration are called so too)."""
        return next(party for party in self.parties if party.name == name)

    def lay_out(self) -> None:
        """Write what does not depend on the devices' addresses."""
        for name in (*(party.name for party in self.parties), "devices", "homes", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        history = self.scenario.history
        for party in (*self.aggregators, self.dso):
            np.savez_compressed(
                self.folder / party.name / "history.npz",
                start=np.array(history.start.isoformat()),
                load_kw=history.load_kw,
                load_kvar=history.load_kvar,
                pv_kw=history.pv_kw,
            )
        (self.folder / self.dso.name / "network.json").write_text(json.dumps(self.scenario.network), encoding="utf-8")
        for party in self.aggregators:
            assert party.aggregator is not None
            write_homes(self.folder / party.name / "homes.json", self.scenario.homes_of(party.aggregator))
        for home in self.scenario.homes:
            (self.folder / "homes" / f"{home.id}.json").write_text(json.dumps(self._house(home)), encoding="utf-8")

    # --- devices and homes ----------------------------------------------------------------------------

    def devices(self) -> list[dict[str, Any]]:
        """Eight PV plants and five batteries as the simulator describes devices; what they can do is the truth."""
        yesterday = self.scenario.history.pv_kw[-96:]
        common = {"start": (self.day_start - timedelta(days=1)).isoformat(), "step_s": 900}
        plants = [
            {
                "resource": pv.id,
                "kind": "pv",
                "variant": "legacy" if n < _LEGACY else "1547",
                "w_max": pv.p_max_w,
                "available_w": _watts(np.concatenate([yesterday[:, pv.series], self.scenario.day.pv_kw[:, pv.series]])),
            }
            for n, pv in enumerate(self.scenario.pvs)
        ]
        stores = [
            {
                "resource": battery.id,
                "kind": "battery",
                "w_max": battery.p_max_w,
                "capacity_wh": battery.capacity_wh,
                "content_wh": battery.initial_wh,
                "charge_max_w": battery.p_max_w,
                "discharge_max_w": battery.p_max_w,
                "charge_efficiency": battery.efficiency,
                "discharge_efficiency": battery.efficiency,
            }
            for battery in self.scenario.batteries
        ]
        return [common | device for device in plants + stores]

    def _house(self, home: Home) -> dict[str, Any]:
        """A home's profile over the day before and the day itself; stays are counted in steps of both."""
        before, day = self.scenario.history.load_kw[-96:], self.scenario.day.load_kw
        return {
            "name": home.id,
            "start": (self.day_start - timedelta(days=1)).isoformat(),
            "step_s": 900,
            "load_w": _watts(np.concatenate([before[:, home.load], day[:, home.load]])),
            "cars": [
                {
                    "id": car.id,
                    "p_max_w": car.p_max_w,
                    "stays": [[96 + s.first - 1, 96 + s.last, s.energy_wh] for s in car.stays],
                    "before_w": _watts(before[:, car.load]),
                }
                for car in home.chargers
            ],
            "heat_pumps": [
                {
                    "id": pump.id,
                    "p_max_w": pump.p_max_w,
                    "buffer_wh": pump.buffer_wh,
                    "demand_w": _watts(np.concatenate([before[:, pump.load], day[:, pump.load]])),
                }
                for pump in home.heat_pumps
            ],
        }

    def configure(self, addresses: dict[str, str]) -> None:
        """Write every party's configuration and key, once the devices' addresses are known."""
        configure(self.scenario, self.parties, self.folder, self.clock, addresses)


def _watts(kilowatts: Any) -> list[float]:
    return [round(float(value) * 1000, 1) for value in kilowatts]
