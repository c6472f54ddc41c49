"""The distributed method: a structured interior point in which every home solves its own problem.

Each home's part is block-tridiagonal along time (`chain`), homes are held in shards (`shard`), and the coordinator
(`coordinator`) sees sums over them: a vector and a matrix per congestion point. Any multipliers give a lower bound, so
every iterate is certified; feasibility is left to the repair.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from optimiser.central import Raw, coupling_box
from optimiser.interior import fast
from optimiser.interior.coordinator import Iterate, Margins, iterate
from optimiser.interior.fleet import Carrier, Homes, in_process, joined, resumed
from optimiser.portfolio import Appliances, Limits, Portfolio, Tariffs
from optimiser.schedules import HELD, Held

__all__ = ["Carrier", "Homes", "available", "candidates", "compiled", "in_process", "warm_up"]

_EXACT = 1e-9
_NEARER, _PATIENCE = 0.9, 15
"""Cost and bound that have not come this much nearer to each other in so many steps never will."""
_SETTLING = 10
"""An answer to another question looks better than it is for so many steps."""
_PROMISING = 2.0
"""The repaired plan tends to be better than the iterate: from here on it is worth a look."""


def candidates(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    gap: float,
    scale: float,
    deadline: float | None = None,
    time_preference_eur_per_kwh: float = 0.0,
    carrier: Carrier = in_process,
    start: Raw | None = None,
    room_kw: float = 0.0,
) -> Iterator[Raw]:
    """Points to be repaired, better and better; the first when the iterate itself is about within `gap`.

    `gap` is relative to the larger of |bound| and `scale` (EUR). Ends when nothing moves any more, or at `deadline`
    (monotonic seconds): the last point is then the best there is. `carrier` says where the homes are solved; with
    `start`, the answer to a similar question, that is here, and begins near it (`room_kw`: see `Shard.resume`).
    """
    price = None if start is None else -p.dt_h * start.price_eur_per_kwh
    if start is None or price is None:
        shards = carrier(p, tariffs, time_preference_eur_per_kwh)
    else:
        shards = resumed(p, tariffs, time_preference_eur_per_kwh, start, limits.at_groups(price), room_kw)
    low, high, span = coupling_box(p, limits)
    net = limits.at_points(np.sum([shard.net for shard in shards], axis=0))
    dual = float(np.mean([shard.scale for shard in shards]))
    margins = Margins(low, high, span, p.dt_h * limits.penalty, limits, net, dual)
    if price is not None:
        margins.resume(price, net, room_kw, dual)
    last: Iterate | None = None
    given, moved, nearest = -1, 0 if price is None else _SETTLING, np.inf
    for last in iterate(shards, margins, scale, price):
        late = deadline is not None and time.monotonic() > deadline
        if last.apart <= _NEARER * nearest:
            moved, nearest = last.number, last.apart
        if last.apart <= _PROMISING * gap or late:
            given = last.number
            yield _raw(p, shards, margins, last, late)
        if late or last.apart <= _EXACT or last.number - moved > _PATIENCE:
            break
    if last is not None and given != last.number:
        yield _raw(p, shards, margins, last, False)


def available() -> bool:
    """Whether numba is installed, so that the kernels can be machine code."""
    return fast.available()


def compiled() -> bool:
    """Whether the kernels are machine code by now."""
    return fast.compiled()


def warm_up() -> bool:
    """Compile the kernels by solving a small case; False without numba. Takes seconds: do it in the background."""
    from optimiser.synthetic import neighbourhood

    p, limits, tariffs = neighbourhood(40, 1)
    once = Appliances(np.array([0]), np.array([0]), np.array([9]), np.array([1]), np.array([[1.0]]))

    def rehearse() -> None:
        for homes in (p, replace(p, appliances=once)):
            next(candidates(homes, limits, tariffs, gap=1.0, scale=1.0))

    return fast.warm_up(rehearse)


def _give_back() -> None:
    """Return freed memory to the system: what the shards gave up lies in pieces between what they keep, and the repair
    asks for arrays of all homes. Only glibc needs telling."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _raw(p: Portfolio, shards: Sequence[Homes], margins: Margins, last: Iterate, late: bool) -> Raw:
    parts = [shard.powers() for shard in shards]
    _give_back()
    powers = joined(parts)
    held = {name: powers.pop(f"held_{name}") for name in HELD if f"held_{name}" in powers}
    return Raw(
        **powers,
        held=Held(**held) if held else None,
        excess_kw=margins.excess(last.price),
        price_eur_per_kwh=-last.price / p.dt_h,
        bound_eur=last.bound,
        iterations=last.number,
        timed_out=late,
        notes=tuple(note for shard in shards for note in shard.notes),
    )
