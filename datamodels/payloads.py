"""What the payload types of programme events mean: one table for every standard, read in both directions.

A payload type is named as OpenADR 3 names it; beside it stand the signal of OpenADR 2.0b, the kinds of signal and
dispatch that it carries, and its unit. Canonical values are W, Wh, currency per kWh or a level; values of an event are
in the unit that its signal names (3.x has no unit below the kilo; PERCENT is a share, -1..1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from datamodels.dispatch import DispatchKind
from datamodels.problems import Loss
from datamodels.programme import EventSignal
from datamodels.signals import SignalInterval, SignalKind

__all__ = ["PAYLOADS", "UNITS", "Payload", "Signal2b", "carrying", "in_canonical", "named", "signal_of"]


@dataclass(frozen=True, slots=True)
class Signal2b:
    """A signal of OpenADR 2.0b: signalName, signalType and the element that substitutes itemBase (empty: none).

    `alike` are other signalNames that mean the same; they are read, and never written.
    """

    name: str
    type: str
    item: str = ""
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload type: canonical value = written value * what `UNITS` says of its unit.

    `loss` says what a 2.0b VEN does not get of it; empty where the translation is exact.
    """

    name: str
    unit: str
    signal: SignalKind | None
    dispatch: DispatchKind | None
    openadr2: Signal2b | None
    loss: str = ""

    @property
    def is_price(self) -> bool:
        return self.signal in (SignalKind.PRICE, SignalKind.EXPORT_PRICE)


_SHARE = "a share of the rated power of the resource, which must be known; or a setpoint that is read as a ceiling"
PAYLOADS: tuple[Payload, ...] = (
    Payload("SIMPLE", "", SignalKind.LEVEL, DispatchKind.LEVEL, Signal2b("SIMPLE", "level")),
    Payload(
        "PRICE",
        "KWH",
        SignalKind.PRICE,
        None,
        Signal2b("ELECTRICITY_PRICE", "price", "currencyPerKWh", ("ENERGY_PRICE",)),
    ),
    Payload("EXPORT_PRICE", "KWH", SignalKind.EXPORT_PRICE, None, None, "2.0b has no price of export"),
    Payload(
        "IMPORT_CAPACITY_LIMIT",
        "KW",
        SignalKind.IMPORT_LIMIT,
        DispatchKind.IMPORT_LIMIT,
        Signal2b("LOAD_CONTROL", "x-loadControlCapacity"),
        _SHARE,
    ),
    Payload(
        "EXPORT_CAPACITY_LIMIT",
        "KW",
        SignalKind.EXPORT_LIMIT,
        DispatchKind.EXPORT_LIMIT,
        Signal2b("LOAD_CONTROL", "x-loadControlCapacity"),
        f"{_SHARE}; that it is export the VEN must know",
    ),
    Payload(
        "DISPATCH_SETPOINT",
        "KW",
        SignalKind.SETPOINT,
        DispatchKind.SETPOINT,
        Signal2b("LOAD_DISPATCH", "setpoint", "powerReal"),
    ),
    Payload(
        "DISPATCH_SETPOINT_RELATIVE",
        "KW",
        SignalKind.DELTA,
        DispatchKind.DELTA,
        Signal2b("LOAD_DISPATCH", "delta", "powerReal"),
    ),
    Payload(
        "CHARGE_STATE_SETPOINT",
        "KWH",
        None,
        DispatchKind.SOC_TARGET,
        Signal2b("CHARGE_STATE", "setpoint", "energyReal"),
    ),
    Payload("CONTROL_SETPOINT", "", None, None, Signal2b("LOAD_CONTROL", "x-loadControlSetpoint")),
    Payload("CONTROL_LEVEL_OFFSET", "", None, None, Signal2b("LOAD_CONTROL", "x-loadControlLevelOffset")),
    Payload(
        "CONTROL_LEVEL_OFFSET_PERCENT",
        "PERCENT",
        None,
        None,
        Signal2b("LOAD_CONTROL", "x-loadControlPercentOffset"),
    ),
)

UNITS: Mapping[str, Decimal] = {
    "": Decimal(1),
    "W": Decimal(1),
    "KW": Decimal(1000),
    "MW": Decimal(1_000_000),
    "WH": Decimal(1),
    "KWH": Decimal(1000),
    "MWH": Decimal(1_000_000),
}
"""W or Wh per unit of a power or an energy."""

_POWER = frozenset({"W", "KW", "MW"})
_ENERGY = frozenset({"WH", "KWH", "MWH"})
_BY_NAME = {payload.name: payload for payload in PAYLOADS}
_BY_KIND: dict[SignalKind | DispatchKind, Payload] = {
    kind: payload for payload in PAYLOADS for kind in (payload.signal, payload.dispatch) if kind is not None
}


def named(payload: str) -> Payload | None:
    """The payload type of that name; None for one without a meaning here (private ones, alerts)."""
    return _BY_NAME.get(payload)


def carrying(kind: SignalKind | DispatchKind) -> Payload:
    """The payload type that carries a kind of signal or dispatch."""
    return _BY_KIND[kind]


def signal_of(
    kind: SignalKind | DispatchKind, intervals: tuple[SignalInterval, ...], currency: str = ""
) -> EventSignal:
    """Canonical values as a signal of an event."""
    payload = carrying(kind)
    factor = Decimal(1) if payload.is_price else UNITS[payload.unit]
    written = tuple(replace(i, value=_plain(i.value / factor)) for i in intervals)
    return EventSignal(payload.name, written, payload.unit, currency if payload.is_price else "")


def in_canonical(signal: EventSignal, full: int = 0) -> tuple[tuple[SignalInterval, ...], tuple[Loss, ...]]:
    """The values of a signal with a known payload type in canonical units.

    `full` is what a share (PERCENT) is a share of, in W or Wh. A signal whose unit cannot be translated gives no
    intervals and a loss.
    """
    payload = named(signal.payload)
    if payload is None:
        return (), (Loss("payload", signal.payload, "has no canonical meaning"),)
    factor = _factor(payload, signal.unit, full)
    if factor is None:
        why = f"{payload.name} is understood in {payload.unit or 'plain numbers'}"
        return (), (Loss("unit", signal.unit, f"{why}, or as a share where the whole is known"),)
    return tuple(replace(i, value=_plain(i.value * factor)) for i in signal.intervals), ()


def _factor(payload: Payload, unit: str, full: int) -> Decimal | None:
    written = unit or payload.unit
    if payload.is_price:
        return {"KWH": Decimal(1), "MWH": 1 / Decimal(1000), "WH": Decimal(1000)}.get(written)
    if not payload.unit:
        return Decimal(1) if not unit else None
    if written == "PERCENT":
        return Decimal(full) if full > 0 else Decimal(1) if payload.unit == "PERCENT" else None
    alike = next((units for units in (_POWER, _ENERGY) if payload.unit in units), frozenset())
    return UNITS[written] if written in alike else None


def _plain(value: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent."""
    value = value.normalize()
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value
