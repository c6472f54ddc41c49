"""What a utility or a control centre imposes: not negotiated, only obeyed or opted out of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

__all__ = ["GridSignal", "SignalInterval", "SignalKind", "SignalTarget", "TargetKind"]


class SignalKind(StrEnum):
    """What the values of a signal mean; the unit is in the comment."""

    IMPORT_LIMIT = "IMPORT_LIMIT"  # W, >= 0
    EXPORT_LIMIT = "EXPORT_LIMIT"  # W, >= 0
    SETPOINT = "SETPOINT"  # W, consumption positive
    DELTA = "DELTA"  # W relative to the baseline
    PRICE = "PRICE"  # currency per kWh of import
    EXPORT_PRICE = "EXPORT_PRICE"  # currency per kWh of export
    LEVEL = "LEVEL"  # 0 normal .. 3 emergency


class TargetKind(StrEnum):
    RESOURCE = "resource"
    PROSUMER = "prosumer"
    GROUP = "group"
    CONGESTION_POINT = "congestion_point"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class SignalTarget:
    kind: TargetKind
    id: str


@dataclass(frozen=True, slots=True)
class SignalInterval:
    """`duration` zero means open-ended."""

    start: datetime
    duration: timedelta
    value: Decimal


@dataclass(frozen=True, slots=True)
class GridSignal:
    """A binding limit, set point, price or level from outside.

    `priority` 1 is the most urgent; 0 means none given and ranks last. A higher `revision` replaces a lower one;
    `cancelled` ends the signal.
    """

    id: str
    source: str
    kind: SignalKind
    intervals: tuple[SignalInterval, ...]
    targets: tuple[SignalTarget, ...] = ()
    priority: int = 0
    revision: int = 0
    cancelled: bool = False
    currency: str = ""
