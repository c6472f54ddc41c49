"""A lower bound from any prices and multipliers: what certifies a plan that no solver has just made.

Every row of a home gets a multiplier, every congestion point a price; each boxed variable then costs at least what its
reduced cost does at one of its bounds. Nothing has to be optimal for that, and nothing has to fit the day at hand: poor
multipliers prove little, but never too much.
"""

from __future__ import annotations

import numpy as np

from optimiser.central import coupling_box
from optimiser.envelopes import finite_boxes, present_in
from optimiser.portfolio import FloatArray, Limits, Portfolio, Tariffs

__all__ = ["certain_bound"]


def certain_bound(
    p: Portfolio, limits: Limits, tariffs: Tariffs, price_eur_per_kwh: FloatArray, multipliers: FloatArray
) -> float:
    """EUR that no plan of this portfolio (without its appliances) costs less than.

    `price_eur_per_kwh` (G,T) is the extra price of import at each point, cut to the penalty; `multipliers` (N,4,T) are
    those of balance, battery, EV and heat buffer (`central.Raw`).
    """
    dt = p.dt_h
    price = np.where(limits.limited, np.clip(price_eur_per_kwh, -limits.penalty, limits.penalty), 0.0)
    felt = dt * limits.at_groups(price)[p.group]
    balance = multipliers[:, 0]
    has = present_in(p)
    kept = [np.where(device[:, None], multipliers[:, 1 + k], 0.0) for k, device in enumerate(has)]

    total = float(np.vdot(p.load_kw, balance))
    total += _least(dt * tariffs.buy_eur_per_kwh - balance + felt, p.imp_max_kw)
    total += _least(balance - felt - dt * tariffs.sell_eur_per_kwh, p.exp_max_kw)
    total += _least(-balance, p.pv_kw)
    gains = (dt * p.bat_efficiency[:, None], dt * p.ev_efficiency[:, None], p.th_b)
    ratings = (np.where(has[0][:, None], p.bat_charge_max_kw, 0.0), p.ev_max_kw, p.hp_max_kw)
    for row, gain, rating in zip(kept, gains, ratings, strict=True):
        total += _least(balance + gain * row, rating)
    battery = has[0]
    wear = dt * p.bat_wear_eur_per_kwh[battery, None] - balance[battery]
    total += _least(wear - dt / p.bat_efficiency[battery, None] * kept[0][battery], p.bat_discharge_max_kw[battery])

    low, high = finite_boxes(p)
    decay = (np.ones(p.homes), np.ones(p.homes), p.th_a)
    initial = (p.bat_initial_kwh, np.zeros(p.homes), p.th_initial)
    for k, row in enumerate(kept):
        here = has[k]
        reduced = -row[here]
        reduced[:, :-1] += decay[k][here, None] * row[here, 1:]
        total += float(np.minimum(reduced * low[k, here], reduced * high[k, here]).sum())
        total += float((decay[k] * initial[k])[here] @ row[here, 0])
    total += float(np.vdot(p.th_w[has[2]], kept[2][has[2]]))

    floor, ceiling, _ = coupling_box(p, limits)
    each = np.where(price > 0, price * ceiling, price * floor)
    return total - dt * float(each[limits.limited].sum())


def _least(reduced: FloatArray, width: FloatArray) -> float:
    return float(np.vdot(np.minimum(reduced, 0.0), width))
