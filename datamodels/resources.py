"""What can be steered: resources, how they are reached, and what they are able to do.

`Flexibility` is a union after the control types of S2 (EN 50491-12-2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

__all__ = [
    "Alternative",
    "Binding",
    "Consequence",
    "EnvelopeInterval",
    "Flexibility",
    "Mode",
    "OperationModes",
    "PowerEnvelope",
    "PowerProfile",
    "Resource",
    "ResourceKind",
    "ResourceRole",
    "Storage",
    "StorageTarget",
    "Transition",
]


class ResourceKind(StrEnum):
    EVSE = "EVSE"
    BATTERY = "BATTERY"
    PV = "PV"
    HEAT_PUMP = "HEAT_PUMP"
    BOILER = "BOILER"
    LOAD = "LOAD"
    GENSET = "GENSET"
    METER = "METER"
    HOME = "HOME"


class ResourceRole(StrEnum):
    CONSUMER = "CONSUMER"
    PRODUCER = "PRODUCER"
    STORAGE = "STORAGE"


@dataclass(frozen=True, slots=True)
class Binding:
    """Which adapter reaches a resource, and under what address (a URL, a venID/resourceID, a server reference).

    `options` holds the adapter's own settings for this resource (a device profile name, a unit id).
    """

    adapter: str
    address: str
    options: dict[str, str] = field(default_factory=dict)


class Consequence(StrEnum):
    """What becomes of energy that a power envelope prevents: it is used later, or it is gone (curtailed)."""

    DEFER = "DEFER"
    VANISH = "VANISH"


@dataclass(frozen=True, slots=True)
class EnvelopeInterval:
    start: datetime
    duration: timedelta
    lower_w: int
    upper_w: int


@dataclass(frozen=True, slots=True)
class PowerEnvelope:
    """Power may lie anywhere between two bounds per interval (S2 PEBC): curtailable PV, a charge point."""

    intervals: tuple[EnvelopeInterval, ...]
    consequence: Consequence = Consequence.VANISH


@dataclass(frozen=True, slots=True)
class Alternative:
    """One possible power sequence: equal steps of `step`, W each."""

    id: str
    step: timedelta
    power_w: tuple[int, ...]
    interruptible: bool = False


@dataclass(frozen=True, slots=True)
class PowerProfile:
    """One of several sequences runs once, starting inside a window (S2 PPBC): a washing machine."""

    alternatives: tuple[Alternative, ...]
    earliest_start: datetime
    latest_end: datetime


@dataclass(frozen=True, slots=True)
class Mode:
    id: str
    power_w: int
    running_cost_eur_per_h: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Transition:
    """An allowed move; `target` lasts at least `minimum_stay` once it was entered so."""

    source: str
    target: str
    minimum_stay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class OperationModes:
    """A finite set of modes and the allowed moves between them (S2 OMBC): SG-Ready, on/off loads."""

    modes: tuple[Mode, ...]
    transitions: tuple[Transition, ...]
    current: str


@dataclass(frozen=True, slots=True)
class StorageTarget:
    """At `by`, the stored energy must lie in [minimum, maximum] Wh: a departure, a state at the end of the day."""

    by: datetime
    minimum_wh: int
    maximum_wh: int | None = None


@dataclass(frozen=True, slots=True)
class Storage:
    """A store that is filled and emptied (S2 FRBC): battery, EV, heat buffer.

    Efficiencies are one-way fractions in (0, 1]; `leakage_per_h` is the fraction of the content lost per hour;
    `usage_w` is what the user draws from the store (a heat buffer's demand), as electrical equivalent.
    """

    capacity_wh: int
    content_wh: int
    charge_max_w: int
    discharge_max_w: int
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    leakage_per_h: float = 0.0
    usage_w: tuple[int, ...] = ()
    targets: tuple[StorageTarget, ...] = ()
    wear_eur_per_kwh: Decimal = Decimal(0)


Flexibility: TypeAlias = PowerEnvelope | PowerProfile | OperationModes | Storage


@dataclass(frozen=True, slots=True)
class Resource:
    """One controllable or metered device behind a connection.

    `p_min_w` <= power <= `p_max_w` are its ratings, consumption positive: PV 0 is off and `p_min_w` is full output,
    a battery discharges at `p_min_w` and charges at `p_max_w`.
    """

    id: str
    connection: str
    kind: ResourceKind
    role: ResourceRole
    p_min_w: int
    p_max_w: int
    binding: Binding | None = None
    flexibility: Flexibility | None = None
    capacity_wh: int = 0
    name: str = ""
