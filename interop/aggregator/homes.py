"""What the aggregator knows of the homes it steers: devices, ratings, and what their owners need.

Kept as one JSON file (canonical encoding) that the configuration names; ISPs count from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from datamodels import decode, encode, serial

__all__ = ["Battery", "Charger", "HeatPump", "Home", "Pv", "Stay", "Unit", "read_homes", "units", "write_homes"]


@dataclass(frozen=True, slots=True)
class Stay:
    """A vehicle is plugged in during ISPs first..last (inclusive) and wants `energy_wh` before it leaves."""

    first: int
    last: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Charger:
    id: str
    load: int
    p_max_w: int
    stays: tuple[Stay, ...]


@dataclass(frozen=True, slots=True)
class HeatPump:
    """`buffer_wh` is the electrical equivalent that the house can take early or do without, each way."""

    id: str
    load: int
    p_max_w: int
    buffer_wh: int


@dataclass(frozen=True, slots=True)
class Pv:
    id: str
    series: int
    p_max_w: int


@dataclass(frozen=True, slots=True)
class Battery:
    """`efficiency` is one-way; the day must end with `final_min_wh` at least."""

    id: str
    p_max_w: int
    capacity_wh: int
    initial_wh: int
    final_min_wh: int
    efficiency: float
    wear_eur_per_kwh: float


@dataclass(frozen=True, slots=True)
class Home:
    """One connection: an inflexible load and whatever devices stand behind it.

    `load` and the devices' `load` and `series` are columns of the history.
    """

    id: str
    bus: int
    connection: str
    load: int
    chargers: tuple[Charger, ...]
    heat_pumps: tuple[HeatPump, ...]
    pvs: tuple[Pv, ...]
    batteries: tuple[Battery, ...]

    @property
    def resources(self) -> tuple[str, ...]:
        """The ids that must be resources of the server: the meter's, which is the home's own, and the devices'."""
        devices: tuple[Charger | HeatPump | Pv | Battery, ...] = (
            *self.chargers,
            *self.heat_pumps,
            *self.pvs,
            *self.batteries,
        )
        return (self.id, *(device.id for device in devices))


@dataclass(frozen=True, slots=True)
class Unit:
    """What the optimiser calls a home: at most one device of each kind. A home with two cars becomes two units."""

    home: Home
    first: bool
    charger: Charger | None
    heat_pump: HeatPump | None
    pv: Pv | None
    battery: Battery | None


serial.register(Stay, Charger, HeatPump, Pv, Battery, Home)


def units(homes: tuple[Home, ...]) -> Iterator[Unit]:
    """Units of all homes, in order; the first of each home carries its load."""
    for home in homes:
        rows = list(zip_longest(home.chargers, home.heat_pumps, home.pvs, home.batteries)) or [(None,) * 4]
        for n, (charger, heat_pump, pv, battery) in enumerate(rows):
            yield Unit(home, n == 0, charger, heat_pump, pv, battery)


def read_homes(path: Path) -> tuple[Home, ...]:
    homes: tuple[Home, ...] = decode(json.loads(path.read_text(encoding="utf-8")), tuple[Home, ...])
    return homes


def write_homes(path: Path, homes: tuple[Home, ...]) -> None:
    path.write_text(json.dumps(encode(homes), indent=1), encoding="utf-8")
