"""From the prognosed net power of a day to the room there is: how far the net may, or must, be moved per ISP.

The grid operator knows each bus's usual load and the installed generation; it spreads the net power that aggregators
expect together over the buses accordingly and lets power flow decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodels import IspSeries
from interop.gridoperator.powerflow import Flow, Grid

__all__ = ["Allocation", "Assessment", "assess"]

Floats = NDArray[np.float64]
_BISECTIONS = 14


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a net power is spread: usual load per ISP and bus, and each bus's share of installed generation.

    What nobody represents is no part of that net power; it stays as it usually is.
    """

    load_kw: Floats
    """(T, buses) >= 0"""
    reactive_kvar: Floats
    """(T, buses)"""
    generation_share: Floats
    """(buses,) sums to 1"""
    fixed_kw: Floats | None = None
    """(T, buses) net power of what nobody represents"""

    def spread(self, net_kw: Floats) -> Floats:
        """(T, buses) powers that sum to `net_kw` (T,) and the fixed ones: the usual load, and generation for the rest.

        A net power above the usual load has no generation: the loads grow in proportion.
        """
        usual = self.load_kw.sum(axis=1)
        growth = np.where((usual > 0) & (net_kw > usual), net_kw / np.maximum(usual, 1e-9), 1.0)
        spread: Floats = self.load_kw * growth[:, None]
        spread += (net_kw - spread.sum(axis=1))[:, None] * self.generation_share[None, :]
        return spread if self.fixed_kw is None else spread + self.fixed_kw


@dataclass(frozen=True, slots=True)
class Assessment:
    """What power flow says about a day: flow at what is expected, and the net power the grid can carry (T,)."""

    flow: Flow
    net_min_kw: Floats
    net_max_kw: Floats

    @property
    def congested(self) -> NDArray[np.bool_]:
        return self.flow.congested

    def room(self, net: IspSeries) -> dict[int, tuple[int, int]]:
        """Per ISP, the least and the most (W) by which the net power may change from `net`.

        Both are above zero where more consumption is needed, both below where less is; else the room holds zero.
        """
        found = {}
        for isp, power in net:
            low = int(np.ceil(self.net_min_kw[isp - 1] * 1000)) - power
            high = int(np.floor(self.net_max_kw[isp - 1] * 1000)) - power
            found[isp] = (low, max(low, high))
        return found


def assess(grid: Grid, allocation: Allocation, net: IspSeries, reserve: float = 0.97) -> Assessment:
    """Run power flow at the expected net power and find, per ISP, the net powers at which loading reaches `reserve`.

    `reserve` is the share of the rating that may be planned with; what is kept back covers losses and forecast error.
    """
    net_kw = net.array() / 1000.0
    flow = grid.run(allocation.spread(net_kw), allocation.reactive_kvar)
    far = 3.0 * grid.rating_kva
    return Assessment(
        flow,
        net_min_kw=_edge(grid, allocation, np.full_like(net_kw, -far), reserve),
        net_max_kw=_edge(grid, allocation, np.full_like(net_kw, far), reserve),
    )


def _edge(grid: Grid, allocation: Allocation, far_kw: Floats, reserve: float) -> Floats:
    """Bisect between 0 (carried) and `far_kw` (not carried) for the last net power that the grid carries (T,)."""
    inside, outside = np.zeros_like(far_kw), far_kw
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        flow = grid.run(allocation.spread(middle), allocation.reactive_kvar)
        carried = (flow.trafo_loading <= reserve) & (flow.line_loading.max(axis=1) <= reserve)
        inside = np.where(carried, middle, inside)
        outside = np.where(carried, outside, middle)
    return inside
