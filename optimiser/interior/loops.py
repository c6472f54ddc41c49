"""The kernels of `box` as loops over single numbers: how a compiler likes them, at a third of the time.

Each stands in for the kernel of its name when that is compiled. What they compute is the same, and a test holds them to
it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optimiser.interior.fast import loop
from optimiser.portfolio import FloatArray

__all__ = ["direct", "follow", "least", "pulled", "weigh"]


@loop
def least(reduced: FloatArray, xl: FloatArray, xu: FloatArray, free: NDArray[np.bool_]) -> float:
    total = 0.0
    for i in range(reduced.size):
        if free[i] and reduced[i] < 0.0:
            total += reduced[i] * (xl[i] + xu[i])
    return total


@loop
def weigh(
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    free: NDArray[np.bool_],
    regular: float,
    theta: FloatArray,
) -> None:
    for i in range(theta.size):
        below, above = xl[i], xu[i]
        both = below * above
        theta[i] = free[i] * both / (zl[i] * above + zu[i] * below + regular * both)


@loop
def pulled(
    target: float,
    past: FloatArray,
    theta: FloatArray,
    reduced: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    out: FloatArray,
) -> None:
    for i in range(out.size):
        below, above = 1.0 / xl[i], 1.0 / xu[i]
        r, s = past[i] * below, past[i] * above
        bend = target * (below - above) + zl[i] * r * (1.0 + r) + zu[i] * s * (1.0 - s)
        out[i] = theta[i] * (reduced[i] - bend)


@loop
def direct(
    gradient: FloatArray,
    target: float,
    past: FloatArray,
    theta: FloatArray,
    reduced: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    free: NDArray[np.bool_],
    dx: FloatArray,
    blocked: FloatArray,
) -> tuple[float, float, float, float, float]:
    shrink, fade, primal, dual, both = 1.0, 1.0, 0.0, 0.0, 0.0
    lengths = blocked.shape[1]
    for i in range(dx.size):
        if not free[i]:
            dx[i] = 0.0
            continue
        z, w = zl[i], zu[i]
        below, above = 1.0 / xl[i], 1.0 / xu[i]
        r, s = past[i] * below, past[i] * above
        low = target * below + z * r * (1.0 + r)
        high = target * above - w * s * (1.0 - s)
        d = theta[i] * (gradient[i] - reduced[i] + low - high)
        below = d * below
        above = d * above
        low = low - z - z * below
        high = high - w + w * above
        inverse = max(above, -below)
        if inverse > 1.0:
            shrink = max(shrink, inverse)
            blocked[0, min(int(lengths / inverse), lengths - 1)] += 1.0
        inverse = max(-low / z, -high / w)
        if inverse > 1.0:
            fade = max(fade, inverse)
            blocked[1, min(int(lengths / inverse), lengths - 1)] += 1.0
        primal += d * (z - w)
        dual += xl[i] * low + xu[i] * high
        both += d * (low - high)
        dx[i] = d
    return shrink, fade, primal, dual, both


@loop
def follow(
    primal: float,
    dual: float,
    kept: float,
    target: float,
    past: FloatArray,
    dx: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    free: NDArray[np.bool_],
) -> None:
    for i in range(dx.size):
        if not free[i]:
            continue
        d, z, w = dx[i], zl[i], zu[i]
        below, above = 1.0 / xl[i], 1.0 / xu[i]
        r, s = past[i] * below, past[i] * above
        zl[i] = max(z + dual * (target * below + z * r * (1.0 + r) - z - z * d * below), kept * z)
        zu[i] = max(w + dual * (target * above - w * s * (1.0 - s) - w + w * d * above), kept * w)
        step = min(max(primal * d, (kept - 1.0) * xl[i]), (1.0 - kept) * xu[i])
        xl[i] += step
        xu[i] -= step
