"""Between SunSpec and the canonical model: what a device measures, what it is, and what it can be told.

SunSpec counts generation positive, the canonical model consumption positive: the sign turns here and nowhere else.
Where several models carry a value, the first implemented one in the table's order counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adapters.modbus.errors import ControlError
from adapters.modbus.sunspec.layout import Value
from adapters.modbus.sunspec.recipes import RECIPES, Control, Raw, Verb
from adapters.modbus.sunspec.scan import Block, DeviceMap
from datamodels import DispatchKind, Loss, Quality, Quantity, Telemetry

__all__ = [
    "SURVEYED",
    "Device",
    "Order",
    "Ratings",
    "describe",
    "locked",
    "samples",
    "translate",
    "verb_of",
]

_GENERATION = -1.0
_PERCENT = 0.01

_READINGS: dict[Quantity, tuple[float, tuple[str, ...]]] = {
    Quantity.POWER_W: (_GENERATION, ("701.W", "113.W", "112.W", "111.W", "103.W", "102.W", "101.W")),
    Quantity.EXPORT_ENERGY_WH: (
        1.0,
        ("701.TotWhInj", "113.WH", "112.WH", "111.WH", "103.WH", "102.WH", "101.WH"),
    ),
    Quantity.IMPORT_ENERGY_WH: (1.0, ("701.TotWhAbs",)),
    Quantity.STORED_ENERGY_WH: (1.0, ("713.WHAvail",)),
    Quantity.STATE_OF_CHARGE: (_PERCENT, ("713.SoC", "802.SoC", "124.ChaState")),
}

_RATINGS: dict[str, tuple[str, ...]] = {
    "reference_w": ("702.WMax", "121.WMax", "702.WMaxRtg", "120.WRtg"),
    "rated_w": ("702.WMaxRtg", "120.WRtg"),
    "charge_max_w": ("702.WChaRteMax", "702.WChaRteMaxRtg", "802.WChaRteMax", "124.WChaMax", "120.MaxChaRte"),
    "discharge_max_w": ("702.WDisChaRteMax", "702.WDisChaRteMaxRtg", "802.WDisChaRteMax", "120.MaxDisChaRte"),
    "capacity_wh": ("713.WHRtg", "802.WHRtg", "120.WHRtg"),
}

_LOCKS: dict[str, tuple[int, str]] = {
    "703.ES": (0, "the permit to serve is withdrawn (703.ES)"),
    "123.Conn": (0, "the device is told to stay disconnected (123.Conn)"),
    "715.LocRemCtl": (1, "the device is under local control (715.LocRemCtl)"),
    "802.LocRemCtl": (1, "the battery is under local control (802.LocRemCtl)"),
}

_MODE_BIT = {Verb.LIMIT: 1 << 0, Verb.SETPOINT: 1 << 1}  # 702.CtrlModes: MAX_W, FIXED_W
_CHARGE, _DISCHARGE = 1 << 0, 1 << 1  # 124.StorCtl_Mod

SURVEYED = frozenset(
    int(source.partition(".")[0])
    for sources in (*(s for _, s in _READINGS.values()), *_RATINGS.values(), tuple(_LOCKS))
    for source in sources
) | {1}
"""Models that `describe` wants to see."""

Survey = Mapping[int, Mapping[str, Value]]
"""Decoded points by model id."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Nameplate and settings, W and Wh, all >= 0; None where the device does not say.

    `reference_w` is what limits in percent refer to.
    """

    reference_w: float | None = None
    rated_w: float | None = None
    charge_max_w: float | None = None
    discharge_max_w: float | None = None
    capacity_wh: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """What one survey of a device tells: identity, ratings, verbs, and what to read again and again."""

    identity: str
    ratings: Ratings
    controls: Mapping[Verb, Control]
    readings: Mapping[Quantity, tuple[int, str, float]]
    """Quantity -> (model, point, factor)."""
    blocks: tuple[Block, ...]
    """The reads that serve all readings."""
    locks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Raw values for a control, and what they cannot express."""

    wanted: Raw
    losses: tuple[Loss, ...] = field(default=())


def describe(where: DeviceMap, survey: Survey) -> Device:
    """Bind a device's models to the canonical names."""
    readings: dict[Quantity, tuple[int, str, float]] = {}
    for quantity, (factor, sources) in _READINGS.items():
        if (source := _first(survey, sources)) is not None:
            readings[quantity] = (*_split(source), factor)
    ratings = Ratings(**{name: _number(survey, sources) for name, sources in _RATINGS.items()})
    controls: dict[Verb, Control] = {}
    modes = survey.get(702, {}).get("CtrlModes")
    for recipe in RECIPES:
        if recipe.model == 704 and isinstance(modes, int) and not modes & _MODE_BIT[recipe.verb]:
            continue
        control = Control.of(recipe, where.find(recipe.model))
        if control is not None and recipe.verb not in controls:
            controls[recipe.verb] = control
    common = survey.get(1, {})
    return Device(
        " ".join(str(common[n]) for n in ("Mn", "Md", "SN") if common.get(n)),
        ratings,
        controls,
        readings,
        _blocks(where, ((model, point) for model, point, _ in readings.values())),
        _blocks(
            where, (_split(name) for name in _LOCKS if survey.get(_split(name)[0], {}).get(_split(name)[1]) is not None)
        ),
    )


def samples(
    resource: str, device: Device, survey: Mapping[int, tuple[datetime, Mapping[str, Value]]], quality: Quality
) -> list[Telemetry]:
    """Telemetry from one round of reads: `survey` has, per model, the market time of its read and its values."""
    found = []
    for quantity, (model, point, factor) in device.readings.items():
        at, values = survey[model]
        value = values[point]
        if isinstance(value, int | float):
            found.append(Telemetry(resource, quantity, at, value * factor, quality=quality))
    capacity = device.ratings.capacity_wh
    if Quantity.STORED_ENERGY_WH not in device.readings and capacity:
        found.extend(
            Telemetry(resource, Quantity.STORED_ENERGY_WH, t.at, t.value * capacity, quality=t.quality)
            for t in found
            if t.quantity is Quantity.STATE_OF_CHARGE
        )
    return found


def locked(survey: Survey) -> str:
    """Why the device refuses remote control at present; empty where it does not."""
    for name, (value, reason) in _LOCKS.items():
        model, point = _split(name)
        if survey.get(model, {}).get(point) == value:
            return reason
    return ""


def verb_of(kind: DispatchKind, device: Device) -> Verb:
    """The verb that carries a kind of dispatch on this device.

    A set point on a device that only knows limits becomes a limit (`translate` reports the loss).

    Raises:
        ControlError: the device has none.
    """
    candidates = {
        DispatchKind.SETPOINT: (Verb.SETPOINT, Verb.LIMIT),
        DispatchKind.EXPORT_LIMIT: (Verb.LIMIT,),
    }.get(kind, ())
    for verb in candidates:
        if verb in device.controls:
            return verb
    offered = ", ".join(device.controls) or "none"
    raise ControlError(f"SunSpec has no way to give this device a {kind}; its verbs: {offered}", refused=True)


def translate(
    kind: DispatchKind, value_w: int, verb: Verb, device: Device, raw: Raw, min_limit_pct: float = 0.0
) -> Order:
    """Raw values that make a device obey `value_w` (unit and sign of the dispatch kind).

    Args:
        raw: the control's registers as just read, for their scale factors.
        min_limit_pct: some inverters drop out below this share of their power; they are never told less.

    Raises:
        ControlError: the device cannot follow: value outside its ratings, or a rating it does not tell.
    """
    control = device.controls[verb]
    if verb is Verb.LIMIT:
        return _limit(kind, value_w, control, device.ratings, raw, min_limit_pct)
    if control.recipe.model == 124:
        return _storage(value_w, control, device.ratings, raw)
    return _watts(value_w, control, device.ratings, raw)


# --- recipes' values --------------------------------------------------------------------------------------------


def _limit(
    kind: DispatchKind, value_w: int, control: Control, ratings: Ratings, raw: Raw, min_limit_pct: float
) -> Order:
    reference = _known(ratings.reference_w, "the power that its limit refers to (702.WMax or 121.WMax)")
    losses = []
    limit = value_w
    if kind is DispatchKind.SETPOINT:
        if value_w > 0:
            raise ControlError(f"{value_w} W is consumption; the device can only limit its generation", refused=True)
        limit = -value_w
        losses.append(Loss("value", f"{value_w} W", "the device has no set point; its generation is limited instead"))
    (name,) = control.recipe.values
    step = 10.0 ** control.exponent(name, raw)
    percent = min(100.0 * limit / reference, 100.0)
    if percent < min_limit_pct:
        losses.append(Loss("value", f"{value_w} W", f"the device is never limited below {min_limit_pct:g} %"))
        percent = min_limit_pct
    steps = math.floor(percent / step + 1e-9)  # never above the limit
    lost = (percent / step - steps) * step * reference / 100.0
    if lost >= 1.0:
        losses.append(Loss("value", f"{value_w} W", f"its resolution of {step:g} % makes it {lost:.0f} W less"))
    return Order({name: steps, control.recipe.enable: 1, **control.recipe.fixed}, tuple(losses))


def _watts(value_w: int, control: Control, ratings: Ratings, raw: Raw) -> Order:
    _within(value_w, ratings)
    (name,) = control.recipe.values
    step = 10.0 ** control.exponent(name, raw)
    steps = round(_GENERATION * value_w / step)
    wanted = {name: steps, control.recipe.enable: 1, **control.recipe.fixed}
    return Order(wanted, _rounded(value_w, _GENERATION * steps * step))


def _storage(value_w: int, control: Control, ratings: Ratings, raw: Raw) -> Order:
    """Model 124: a rate in percent per direction; the mode says which of them holds, both at 0 hold the battery."""
    _within(value_w, ratings)
    charge = _known(ratings.charge_max_w, "its charging power (124.WChaMax)")
    reference = charge if value_w >= 0 else ratings.discharge_max_w or charge
    step = 10.0 ** control.exponent("OutWRte", raw)
    steps = round(100.0 * abs(value_w) / reference / step)
    mode = _CHARGE if value_w > 0 else _DISCHARGE if value_w < 0 else _CHARGE | _DISCHARGE
    wanted = {"OutWRte": 0, "InWRte": 0, control.recipe.enable: mode}
    wanted["InWRte" if value_w > 0 else "OutWRte"] = steps
    return Order(wanted, _rounded(value_w, math.copysign(steps * step * reference / 100.0, value_w)))


def _within(value_w: int, ratings: Ratings) -> None:
    discharge = ratings.discharge_max_w if ratings.discharge_max_w is not None else ratings.reference_w
    charge = ratings.charge_max_w if ratings.charge_max_w is not None else ratings.reference_w
    lower = -_known(discharge, "how much it can give (702.WDisChaRteMax)")
    upper = _known(charge, "how much it can take (702.WChaRteMax)")
    if not lower <= value_w <= upper:
        raise ControlError(f"{value_w} W is outside of the device's {lower:.0f}..{upper:.0f} W", refused=True)


def _rounded(value_w: int, done_w: float) -> tuple[Loss, ...]:
    if abs(done_w - value_w) < 1.0:
        return ()
    return (Loss("value", f"{value_w} W", f"the device's resolution makes it {done_w:.0f} W"),)


def _known(value: float | None, what: str) -> float:
    if not value:
        raise ControlError(f"the device does not tell {what}", refused=True)
    return value


# --- bindings -----------------------------------------------------------------------------------------------------


def _split(source: str) -> tuple[int, str]:
    model, _, point = source.partition(".")
    return int(model), point


def _first(survey: Survey, sources: tuple[str, ...]) -> str | None:
    for source in sources:
        model, point = _split(source)
        if survey.get(model, {}).get(point) is not None:
            return source
    return None


def _number(survey: Survey, sources: tuple[str, ...]) -> float | None:
    source = _first(survey, sources)
    if source is None:
        return None
    model, point = _split(source)
    value = survey[model][point]
    return float(value) if isinstance(value, int | float) else None


def _blocks(where: DeviceMap, points: Iterable[tuple[int, str]]) -> tuple[Block, ...]:
    wanted: dict[int, list[str]] = {}
    for model, point in points:
        wanted.setdefault(model, []).append(point)
    blocks = []
    for model, names in wanted.items():
        at = where.find(model)
        assert at is not None
        blocks.append(Block.of(at, names))
    return tuple(sorted(blocks, key=lambda b: b.address))
