"""Steering inside an ISP: what batteries and PV must do now, so that the mean power of the ISP keeps its bounds.

The plan says what to do if the forecast holds. Clouds move and batteries fail within the quarter-hour, so a few times
an ISP the aggregator looks at what was measured and corrects: batteries first, as far as they go, then PV output.
A pure function of the moment; nothing is remembered between calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Corrections", "Moment", "PvNow", "StoreNow", "mean_so_far", "steer"]

_SHORTEST_REST = 0.2


@dataclass(frozen=True, slots=True)
class StoreNow:
    """A battery that answers: W planned, and the W it can hold for the rest of the ISP (its energy allows)."""

    id: str
    plan_w: float
    min_w: float
    max_w: float


@dataclass(frozen=True, slots=True)
class PvNow:
    """A PV plant that answers: output it could have now and output planned, W >= 0."""

    id: str
    potential_w: float
    plan_limit_w: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the ISP stands.

    Attributes:
        elapsed: share of the ISP that is over, 0..1.
        done_w: mean net power of the elapsed part (0 at the very start).
        uncontrolled_w: net power of everything that is not steered now.
        low_w, high_w: bounds on the mean net power of the whole ISP, margin included.
    """

    elapsed: float
    done_w: float
    uncontrolled_w: float
    low_w: float
    high_w: float


@dataclass(frozen=True, slots=True)
class Corrections:
    """W per battery and export limit (W >= 0) per PV plant; `short_w` is what could not be reached (signed)."""

    battery_w: Mapping[str, float]
    pv_limit_w: Mapping[str, float]
    short_w: float


def mean_so_far(elapsed_s: float, known_s: float, known_w: float, since_w: float) -> float:
    """Mean power of the elapsed part of an ISP, whose first `known_s` seconds were metered.

    `known_w` is their mean; since then the power is taken to be `since_w` (0 for a device that has died). At the very
    start of the ISP it is `since_w`.
    """
    if elapsed_s <= 0:
        return since_w
    known = min(max(known_s, 0.0), elapsed_s)
    return (known_w * known + since_w * (elapsed_s - known)) / elapsed_s


def steer(moment: Moment, batteries: Sequence[StoreNow], pvs: Sequence[PvNow]) -> Corrections:
    """Set points for the rest of the ISP; the plan's own wherever it keeps the bounds."""
    rest = max(1.0 - moment.elapsed, _SHORTEST_REST)
    low = (moment.low_w - moment.done_w * moment.elapsed) / rest
    high = (moment.high_w - moment.done_w * moment.elapsed) / rest
    produced = sum(min(pv.potential_w, pv.plan_limit_w) for pv in pvs)
    plan = sum(battery.plan_w for battery in batteries)
    net = moment.uncontrolled_w - produced + plan
    change = max(low - net, 0.0) if net < low else min(high - net, 0.0)
    if change >= 0:
        room = {b.id: max(b.max_w - b.plan_w, 0.0) for b in batteries}
    else:
        room = {b.id: min(b.min_w - b.plan_w, 0.0) for b in batteries}
    total = sum(room.values())
    share = min(change / total, 1.0) if total else 0.0
    battery_w = {b.id: b.plan_w + share * room[b.id] for b in batteries}
    left = change - share * total
    limits = {pv.id: pv.plan_limit_w for pv in pvs}
    if left > 0 and produced > 0:
        keep = max(1.0 - left / produced, 0.0)
        limits = {pv.id: min(pv.potential_w, pv.plan_limit_w) * keep for pv in pvs}
        left = max(left - produced, 0.0)
    elif left < 0:
        # Too much consumption: let curtailed plants run again before calling it short.
        spare = {pv.id: max(pv.potential_w - pv.plan_limit_w, 0.0) for pv in pvs}
        free = sum(spare.values())
        part = min(-left / free, 1.0) if free else 0.0
        limits = {pv.id: pv.plan_limit_w + part * spare[pv.id] for pv in pvs}
        left += part * free
    return Corrections(battery_w, limits, left)
