"""What the aggregator knows of the homes it steers: devices, ratings, and what their owners need.

Kept as one JSON file (canonical encoding) that the configuration names; ISPs count from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from datamodels import OperationModes, decode, encode, serial

__all__ = [
    "Appliance",
    "Battery",
    "Charger",
    "HeatPump",
    "Home",
    "Pv",
    "Stay",
    "Switched",
    "Unit",
    "read_homes",
    "units",
    "write_homes",
]


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
class Appliance:
    """Runs once a day within ISPs first..last (inclusive), W per ISP of its run; not divided, not stopped.

    Raises:
        ValueError: the run does not fit.
    """

    id: str
    load: int
    first: int
    last: int
    power_w: tuple[int, ...]

    def __post_init__(self) -> None:
        if not (self.power_w and 1 <= self.first <= self.last + 1 - len(self.power_w)):
            raise ValueError(f"{self.id}: a run of {len(self.power_w)} ISPs within {self.first}..{self.last}")


@dataclass(frozen=True, slots=True)
class Switched:
    """A device with operation modes, the first of which is off; it must be in others for `least_on_isps` a day.

    Raises:
        ValueError: a mode is named that there is not.
    """

    id: str
    load: int
    modes: OperationModes
    least_on_isps: int = 0

    def __post_init__(self) -> None:
        known = {mode.id for mode in self.modes.modes}
        moves = self.modes.transitions
        strange = {self.modes.current, *(m.source for m in moves), *(m.target for m in moves)} - known
        if strange:
            raise ValueError(f"{self.id}: {', '.join(sorted(strange))} is not among its modes")


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
    appliances: tuple[Appliance, ...] = ()
    switched: tuple[Switched, ...] = ()

    @property
    def choosing(self) -> tuple[str, ...]:
        """The ids of devices that are on or off, or in one of several modes."""
        return (*(device.id for device in self.appliances), *(device.id for device in self.switched))

    @property
    def resources(self) -> tuple[str, ...]:
        """The ids that must be resources of the server: the meter's, which is the home's own, and the devices'."""
        devices: tuple[Charger | HeatPump | Pv | Battery, ...] = (
            *self.chargers,
            *self.heat_pumps,
            *self.pvs,
            *self.batteries,
        )
        return (self.id, *(device.id for device in devices), *self.choosing)


@dataclass(frozen=True, slots=True)
class Unit:
    """What the optimiser calls a home: at most one device of each kind. A home with two cars becomes two units.

    Appliances and devices with modes are the first unit's, any number.
    """

    home: Home
    first: bool
    charger: Charger | None
    heat_pump: HeatPump | None
    pv: Pv | None
    battery: Battery | None


serial.register(Stay, Charger, HeatPump, Pv, Battery, Appliance, Switched, Home)


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
