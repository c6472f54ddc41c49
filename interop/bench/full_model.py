"""The planning problem written down plainly: every home has every device, absent ones with all bounds zero.

This is how one states it on the first day; `optimiser.central` is what it is measured against. Nothing is shared with
it but the input and HiGHS. Ten variables and four rows per home and ISP::

    m - e - c + d - v - h + g         = load        E[t] - E[t-1] - eta D c + D/eta d = 0
    S[t] - S[t-1] - eta D v           = 0           X[t] - a X[t-1] - b h             = w
    lo - under <= sum over homes of (m - e) <= hi + over
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from optimiser import Limits, Portfolio, Tariffs

__all__ = ["solve_full"]

_NAMES = ("m", "e", "c", "d", "E", "v", "S", "g", "h", "X")


def solve_full(p: Portfolio, limits: Limits, tariffs: Tariffs) -> float:
    """The least cost in EUR, penalties included, of a portfolio without appliances.

    Raises:
        ArithmeticError: HiGHS finds no optimum.
    """
    homes, isps, dt = p.homes, p.isps, p.dt_h
    size = homes * isps
    eye = sparse.eye_array(size, format="csr")
    blank = sparse.csr_array((size, size))

    def diagonal(values: Any) -> Any:
        return sparse.diags_array(np.broadcast_to(values, (homes, isps)).ravel(), format="csr")

    def memory(decay: Any) -> Any:
        """x[t] - decay x[t-1] within each home."""
        before = np.broadcast_to(decay, (homes, isps)).copy()
        before[:, 0] = 0.0
        return eye - sparse.diags_array(before.ravel()[1:], offsets=-1, shape=(size, size), format="csr")

    def row(**blocks: Any) -> list[Any]:
        return [blocks.get(name, blank) for name in _NAMES]

    eta, decay = np.where(p.has_battery, p.bat_efficiency, 1.0)[:, None], p.th_a[:, None]
    homes_rows = sparse.block_array(
        [
            row(m=eye, e=-eye, c=-eye, d=eye, v=-eye, h=-eye, g=eye),
            row(E=memory(1.0), c=diagonal(-eta * dt), d=diagonal(dt / eta)),
            row(S=memory(1.0), v=diagonal(-p.ev_efficiency[:, None] * dt)),
            row(X=memory(decay), h=diagonal(-p.th_b)),
        ],
        format="csr",
    )
    start_e, heat = np.zeros((homes, isps)), np.where(p.has_heat_pump[:, None], p.th_w, 0.0).copy()
    start_e[:, 0] = p.bat_initial_kwh
    heat[:, 0] += np.where(p.has_heat_pump, p.th_a * p.th_initial, 0.0)
    right = np.concatenate([p.load_kw.ravel(), start_e.ravel(), np.zeros(size), heat.ravel()])

    # Limits of the congestion points, softened by one slack on each side.
    groups = limits.lo_kw.shape[0]
    member = sparse.csr_array((np.ones(homes), (p.group, np.arange(homes))), shape=(groups, homes))
    gather = sparse.kron(member, sparse.eye_array(isps), format="csr")
    slack, none = sparse.eye_array(groups * isps, format="csr"), sparse.csr_array((groups * isps, size * 8))
    upper = sparse.hstack([gather, -gather, none, -slack, 0 * slack], format="csr")
    lower = sparse.hstack([-gather, gather, none, 0 * slack, -slack], format="csr")
    inequalities = sparse.vstack([upper, lower], format="csr")
    most = np.concatenate([limits.hi_kw.ravel(), -limits.lo_kw.ravel()])
    kept = np.isfinite(most)

    low, high = _boxes(p)
    wear = np.where(p.has_battery, p.bat_wear_eur_per_kwh, 0.0)[:, None]
    zero = np.zeros((homes, isps))
    costs = {"m": tariffs.buy_eur_per_kwh * dt, "e": -tariffs.sell_eur_per_kwh * dt, "d": wear * dt + zero}
    penalty = np.tile((limits.penalty * dt).ravel(), 2)
    cost = np.concatenate([*(np.ravel(costs.get(name, zero)) for name in _NAMES), penalty])
    slacks = np.tile([0.0, np.inf], (2 * groups * isps, 1))
    bounds: Any = np.vstack([*(np.column_stack([low[n].ravel(), high[n].ravel()]) for n in _NAMES), slacks])
    equalities: Any = sparse.hstack([homes_rows, sparse.csr_array((4 * size, 2 * groups * isps))], format="csc")
    picked: Any = inequalities[kept].tocsc()
    result = linprog(cost, picked, most[kept], equalities, right, bounds, method="highs")
    if result.status != 0 or result.fun is None:
        raise ArithmeticError(f"HiGHS finds no optimum of the plain programme: {result.message}")
    return float(result.fun)


def _boxes(p: Portfolio) -> tuple[dict[str, Any], dict[str, Any]]:
    """Least and greatest value (homes, ISPs) of each variable; zero for devices that are not there."""
    shape = (p.homes, p.isps)
    zero = np.zeros(shape)
    floor = zero.copy()
    floor[:, -1] = p.bat_final_min_kwh
    heated = p.has_heat_pump[:, None]
    low = dict.fromkeys(_NAMES, zero) | {
        "E": floor,
        "S": p.ev_energy_min_kwh,
        "X": np.where(heated, p.th_min, 0.0),
    }
    high = {
        "m": p.imp_max_kw,
        "e": p.exp_max_kw,
        "c": p.bat_charge_max_kw,
        "d": p.bat_discharge_max_kw,
        "E": np.broadcast_to(p.bat_capacity_kwh[:, None], shape),
        "v": p.ev_max_kw,
        "S": p.ev_energy_max_kwh,
        "g": p.pv_kw,
        "h": p.hp_max_kw,
        "X": np.where(heated, p.th_max, 0.0),
    }
    return low, high
