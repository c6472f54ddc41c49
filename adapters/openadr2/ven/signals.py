"""What an event asks, as grid signals in market time. Pure; what they cannot carry is returned as `Loss`.

A table says what each pair of signalName and signalType means; a pair that is not in it is not supported (460).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from adapters.clock import Clock
from adapters.errors import Rejection
from adapters.openadr2.config import Profile
from adapters.openadr2.mapping import SCALES
from adapters.openadr2.model import EiEvent, EiTarget, EventSignal, ItemBase
from adapters.openadr2.ven import engine
from adapters.openadr2.ven.config import VtnConfig
from datamodels import GridSignal, Loss, Problem, Resource, SignalInterval, SignalKind, SignalTarget, TargetKind

__all__ = ["Meant", "Site", "cut", "meaning", "targets_of"]


@dataclass(frozen=True, slots=True)
class Site:
    """What is ours: resources by the resourceID that the VTN knows them by, the venID it gave us, market and clock."""

    config: VtnConfig
    ven_id: str
    resources: Mapping[str, Resource]
    currency: str
    clock: Clock

    @classmethod
    def of(cls, config: VtnConfig, ven_id: str, resources: Mapping[str, Resource], currency: str, clock: Clock) -> Site:
        named = config.resources or {id: id for id in resources}
        ours = {theirs: resources[id] for theirs, id in named.items() if id in resources}
        return cls(config, ven_id, ours, currency, clock)


@dataclass(frozen=True, slots=True)
class Meant:
    """What a signal means: a kind, and how a payload becomes its value (None: nothing holds in that interval)."""

    kind: SignalKind
    value: Callable[[Decimal], Decimal | None]
    currency: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One signal of an event, and whom the event is for."""

    site: Site
    signal: EventSignal
    rated: tuple[Resource, ...]
    losses: list[Loss]

    @property
    def unit(self) -> str:
        return self.signal.item_base.name if isinstance(self.signal.item_base, ItemBase) else ""

    @property
    def factor(self) -> Decimal:
        """Of the unit's scale."""
        base = self.signal.item_base
        return Decimal(1).scaleb(SCALES[base.scale]) if isinstance(base, ItemBase) else Decimal(1)


# --- targets ------------------------------------------------------------------------------------------------------


def targets_of(target: EiTarget, site: Site) -> tuple[tuple[SignalTarget, ...], tuple[Loss, ...]]:
    """Which part of ours an event is for; nothing means all of it.

    Raises:
        Rejection: it is for others (rule 22, 462).
    """
    if target == EiTarget():
        return (), ()
    if target.ven_id and site.ven_id not in target.ven_id:
        raise _no("target", "eiTarget", "it names other VENs (rule 22)", "462")
    points = site.config.congestion_points
    named = (
        *target.group_id,
        *target.group_name,
        *target.pnode,
        *target.aggregated_pnode,
        *target.service_delivery_point,
        *target.meter_asset,
    )
    found = {
        SignalTarget(TargetKind.RESOURCE, site.resources[r].id): None for r in target.resource_id if r in site.resources
    }
    found |= {SignalTarget(TargetKind.CONGESTION_POINT, points[name]): None for name in named if name in points}
    strange = [*(r for r in target.resource_id if r not in site.resources), *(n for n in named if n not in points)]
    opaque = [kind for kind in ("service_area", "service_location", "transport_interface") if getattr(target, kind)]
    if not found and (strange or not (target.ven_id or target.party_id or target.end_device_asset)):
        raise _no("target", "eiTarget", "it names nothing of ours", "462")
    losses = [Loss("eiTarget", name, "it is not known here") for name in strange]
    losses += [Loss("eiTarget", kind, "it is not interpreted") for kind in opaque]
    losses += [Loss("eiTarget", name, "device classes are not told apart") for name in target.end_device_asset]
    return tuple(found), tuple(losses)


# --- signals ------------------------------------------------------------------------------------------------------


def meaning(event: EiEvent, drawn_s: float, source: str, site: Site) -> tuple[tuple[GridSignal, ...], tuple[Loss, ...]]:
    """All that an event imposes, at revision 0, moved by what was drawn for its startafter.

    Raises:
        Rejection: it is for others (462), none of its signals is supported (460), or a value cannot be used (454).
    """
    about = event.descriptor
    targets, lost = targets_of(event.target, site)
    losses = list(lost)
    if event.baseline is not None:
        losses.append(Loss("eiEventBaseline", event.baseline.baseline_id, "a signal has no baseline"))
    rated = _rated(targets, site)
    meant: dict[int, Meant] = {}
    problems: list[Problem] = []
    for n, signal in enumerate(event.signals):
        try:
            meant[n] = _meant(_Asked(site, signal, rated, losses))
        except Rejection as error:
            problems += error.problems
    if not meant:
        raise Rejection(problems or [Problem("oadr.map.signal", "eiEventSignals", "there is none", reason="460")])
    losses += [Loss("eiEventSignal", problem.where, problem.message) for problem in problems]
    if len(meant) > 1:
        for n in [n for n in meant if event.signals[n].signal_name.upper() == "SIMPLE"]:
            losses.append(Loss("eiEventSignal", "SIMPLE", "another signal of the event says more"))
            del meant[n]
    laid_out = list(engine.spans(event, drawn_s))
    ids = _ids(event, meant)
    found = [
        GridSignal(
            id=ids[n],
            source=source,
            kind=means.kind,
            intervals=tuple(_intervals(means, [s for s in laid_out if s.signal == n], site.clock)),
            targets=targets,
            priority=about.priority or 0,
            currency=means.currency,
        )
        for n, means in meant.items()
    ]
    return tuple(signal for signal in found if signal.intervals), tuple(losses)


def _ids(event: EiEvent, meant: Iterable[int]) -> dict[int, str]:
    """Ids of signals: the event's, and where it has several, their own."""
    numbers = list(meant)
    names = [event.signals[n].signal_id for n in numbers]
    event_id = event.descriptor.event_id
    if len(numbers) == 1:
        return {numbers[0]: event_id}
    unique = len(set(names)) == len(names)
    return {n: f"{event_id}/{name if unique else n}" for n, name in zip(numbers, names, strict=True)}


def _intervals(means: Meant, laid_out: Iterable[engine.Span], clock: Clock) -> Iterable[SignalInterval]:
    for span in laid_out:
        if span.value is None:
            raise _no("value", f"interval {span.uid}", "a signal's payload is payloadFloat", "454")
        value = means.value(Decimal(repr(span.value)))
        if value is None:
            continue
        start = clock.from_wall(span.start)
        length = timedelta(0) if span.end is None else clock.from_wall(span.end) - start
        if span.end is None or length > timedelta(0):
            yield SignalInterval(start, length, value)


def _rated(targets: Iterable[SignalTarget], site: Site) -> tuple[Resource, ...]:
    named = {target.id for target in targets if target.kind is TargetKind.RESOURCE}
    return tuple(r for r in site.resources.values() if not named or r.id in named)


def _meant(asked: _Asked) -> Meant:
    name = asked.signal.signal_name.upper()
    reader = _TABLE.get((name, asked.signal.signal_type))
    if reader is None and name == "SIMPLE" and asked.site.config.profile is Profile.LENIENT:
        asked.losses.append(Loss("signalType", asked.signal.signal_type, "SIMPLE is a level (rule 116)"))
        reader = _level
    if reader is None:
        raise _unsupported(asked, "it has no meaning here")
    return reader(asked)


def _unsupported(asked: _Asked, why: str) -> Rejection:
    return _no("signal", f"{asked.signal.signal_name} {asked.signal.signal_type}", why, "460")


def _no(rule: str, where: str, text: str, code: str) -> Rejection:
    return Rejection([Problem(f"oadr.map.{rule}", where, text, reason=code)])


# --- what signals mean --------------------------------------------------------------------------------------------


def _power(asked: _Asked) -> Decimal:
    if asked.unit not in ("", "powerReal"):
        raise _unsupported(asked, f"{asked.unit} where powerReal is meant")
    return asked.factor


def _setpoint(asked: _Asked) -> Meant:
    factor = _power(asked)
    if asked.signal.signal_id in (SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT):
        return _ceiling(asked, SignalKind(asked.signal.signal_id), factor)
    if asked.site.config.setpoint_is_limit:
        return _ceiling(asked, SignalKind.IMPORT_LIMIT, factor)
    return Meant(SignalKind.SETPOINT, lambda value: _watts(value * factor, ROUND_HALF_EVEN))


def _delta(asked: _Asked) -> Meant:
    factor = _power(asked)
    return Meant(SignalKind.DELTA, lambda value: _watts(value * factor, ROUND_HALF_EVEN))


def _capacity(asked: _Asked) -> Meant:
    """A fraction of rated power; the signalID says where it is one of export."""
    exports = asked.signal.signal_id == SignalKind.EXPORT_LIMIT
    ratings = [-r.p_min_w if exports else r.p_max_w for r in asked.rated]
    rated = sum(watts for watts in ratings if watts > 0)
    if not rated:
        raise _unsupported(asked, "no resource of ours has a rated power in that direction")
    return _ceiling(asked, SignalKind.EXPORT_LIMIT if exports else SignalKind.IMPORT_LIMIT, Decimal(rated))


def _ceiling(asked: _Asked, kind: SignalKind, factor: Decimal) -> Meant:
    def value(given: Decimal) -> Decimal:
        watts = _watts(given * factor, ROUND_FLOOR)
        if watts < 0:
            asked.losses.append(Loss("payloadFloat", f"{watts} W", "a limit of one direction cannot ask for the other"))
        return max(watts, Decimal(0))

    return Meant(kind, value)


def _level(asked: _Asked) -> Meant:
    ceilings = asked.site.config.levels_w

    def level(value: Decimal) -> Decimal:
        if value not in range(4):
            raise _no("level", "SIMPLE", f"{value} is no level from 0 to 3 (rule 9)", "454")
        return value

    def ceiling(value: Decimal) -> Decimal | None:
        number = int(level(value))
        return Decimal(ceilings[number - 1]) if number else None

    return Meant(SignalKind.IMPORT_LIMIT, ceiling) if ceilings else Meant(SignalKind.LEVEL, level)


def _price(asked: _Asked) -> Meant:
    factor, currency = asked.factor, _currency(asked)
    return Meant(SignalKind.PRICE, lambda value: value * factor, currency)


def _relative(asked: _Asked) -> Meant:
    base, factor, currency = _base(asked), asked.factor, _currency(asked)
    return Meant(SignalKind.PRICE, lambda value: base + value * factor, currency)


def _multiplied(asked: _Asked) -> Meant:
    base = _base(asked)
    return Meant(SignalKind.PRICE, lambda value: base * value, asked.site.currency)


def _base(asked: _Asked) -> Decimal:
    base = asked.site.config.base_price
    if base is None:
        raise _unsupported(asked, "no base_price is configured")
    return base


def _currency(asked: _Asked) -> str:
    """Of a price per kWh; one that gives no unit is read in the market's currency by the lenient profile only."""
    ours, base = asked.site.currency, asked.signal.item_base
    if base is None and asked.site.config.profile is Profile.LENIENT:
        asked.losses.append(Loss("itemBase", "", f"a price without a unit is read as {ours}/kWh"))
        return ours
    if not isinstance(base, ItemBase) or base.name != "currencyPerKWh":
        raise _unsupported(asked, "a price in currencyPerKWh is needed")
    if base.units != ours:
        raise _unsupported(asked, f"a price in {base.units}, but the market settles in {ours}")
    return ours


_TABLE: Mapping[tuple[str, str], Callable[[_Asked], Meant]] = {
    ("SIMPLE", "level"): _level,
    ("LOAD_DISPATCH", "setpoint"): _setpoint,
    ("LOAD_DISPATCH", "delta"): _delta,
    ("LOAD_CONTROL", "x-loadControlCapacity"): _capacity,
    ("LOAD_CONTROL", "x-loadControlSetpoint"): _setpoint,
    ("ELECTRICITY_PRICE", "price"): _price,
    ("ELECTRICITY_PRICE", "priceRelative"): _relative,
    ("ELECTRICITY_PRICE", "priceMultiplier"): _multiplied,
    ("ENERGY_PRICE", "price"): _price,
    ("ENERGY_PRICE", "priceRelative"): _relative,
    ("ENERGY_PRICE", "priceMultiplier"): _multiplied,
}


def _watts(value: Decimal, rounding: str) -> Decimal:
    return value.to_integral_value(rounding)


# --- cancelled ----------------------------------------------------------------------------------------------------


def cut(signal: GridSignal, end: datetime) -> GridSignal:
    """A signal that ends at a market instant: at once cancelled where nothing of it is left."""
    left = []
    for interval in signal.intervals:
        if interval.start < end:
            over = not interval.duration or interval.start + interval.duration > end
            length = end - interval.start if over else interval.duration
            left.append(SignalInterval(interval.start, length, interval.value))
    return GridSignal(
        signal.id,
        signal.source,
        signal.kind,
        tuple(left) or signal.intervals,
        signal.targets,
        signal.priority,
        signal.revision,
        not left,
        signal.currency,
    )
