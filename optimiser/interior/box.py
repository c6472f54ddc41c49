"""Variables in boxes, 0 <= x <= width, and the interior point's arithmetic on them; one mechanism for homes and limits.

The slacks xl = x and xu = width - x are kept as variables of their own: recomputed from each other they lose all digits
near a bound. Variables without width never move; their slacks and multipliers stand at 1 and are left out of every sum.

Only what must last is stored. The multipliers' direction follows from that of x: with r = p/xl of the last direction p,

    dzl = bl - zl - zl dx/xl,   bl = target/xl + zl r (1 + r)

and the same with other signs for the upper slack; p = 0 and target = 0 is the affine direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimiser.interior.fast import kernel, kernels
from optimiser.portfolio import FloatArray

__all__ = ["Box", "Product", "Step"]

_REGULAR = 1e-8
_FIXED = 1e-9
_MARGIN = 0.02
_BLOCK = 4096  # what a kernel holds at once stays in the cache
_LENGTHS = 64


@dataclass(frozen=True, slots=True)
class Product:
    """sum (xl + ap dxl)(zl + ad dzl) + the same of the upper slacks, as a polynomial in the two step lengths."""

    at: float = 0.0
    primal: float = 0.0
    dual: float = 0.0
    both: float = 0.0

    def __add__(self, other: Product) -> Product:
        return Product(self.at + other.at, self.primal + other.primal, self.dual + other.dual, self.both + other.both)

    def after(self, primal: float, dual: float) -> float:
        return self.at + primal * self.primal + dual * self.dual + primal * dual * self.both


@dataclass(frozen=True, slots=True)
class Step:
    """A direction: how far it may be followed before a slack or a multiplier reaches zero, at most 1.

    `blocked` (2, lengths) counts the variables of which a slack or, second row, a multiplier does, by the length, in
    equal parts of 1, at which it does.
    """

    primal: float
    dual: float
    product: Product
    blocked: FloatArray

    def __add__(self, other: Step) -> Step:
        return Step(
            min(self.primal, other.primal),
            min(self.dual, other.dual),
            self.product + other.product,
            self.blocked + other.blocked,
        )

    def beyond(self, blocked: int) -> tuple[float, float]:
        """Lengths (primal, dual) at which no more than so many variables are blocked."""
        passed = (np.cumsum(self.blocked, axis=1) <= blocked).sum(axis=1) / _LENGTHS
        return max(self.primal, float(passed[0])), max(self.dual, float(passed[1]))


class Box:
    """Flat arrays (V,) of variables: slacks, multipliers, and the direction that is being taken."""

    def __init__(
        self,
        width: FloatArray,
        start: FloatArray,
        dual_lower: FloatArray | float,
        dual_upper: FloatArray | float,
    ) -> None:
        self._run = kernels()
        self.free: NDArray[np.bool_] = width > _FIXED
        self.count = int(self.free.sum())
        start = np.clip(start, _MARGIN * width, (1.0 - _MARGIN) * width)
        self.xl = np.where(self.free, start, 1.0)
        self.xu = np.where(self.free, width - start, 1.0)
        self.zl = np.where(self.free, dual_lower, 1.0)
        self.zu = np.where(self.free, dual_upper, 1.0)
        self.reduced = self.xl
        self.ease()

    def resume(self, x: FloatArray, reduced: FloatArray, room: float, scale: float) -> None:
        """Stand near `x`, `room` off each bound, or less where the reduced cost that holds x there exceeds `scale`."""
        width, product = self.xl + self.xu, room * scale
        below = np.minimum(width / 4, product / np.maximum(reduced, scale))
        above = np.minimum(width / 4, product / np.maximum(-reduced, scale))
        x = np.clip(x, below, width - above)
        self.xl, self.xu = np.where(self.free, x, 1.0), np.where(self.free, width - x, 1.0)
        self.zl, self.zu = (np.where(self.free, product / slack, 1.0) for slack in (self.xl, self.xu))

    def ease(self) -> None:
        """Give up what is only needed within an iteration."""
        self.theta = self.past = self.dx = np.empty(0)

    @property
    def x(self) -> FloatArray:
        return np.asarray(self.free * self.xl)

    def bound(self, reduced: FloatArray) -> float:
        """Least of reduced.x over the boxes; the width is what the slacks add up to."""
        return float(self._run["least"](reduced, self.xl, self.xu, self.free))

    def complementarity(self) -> float:
        return float(self.xl @ self.zl + self.xu @ self.zu) - 2.0 * (self.free.size - self.count)

    def aim(self, reduced: FloatArray) -> None:
        """Weights theta = 1 / (zl/xl + zu/xu) for the affine direction at the costs `reduced` (kept)."""
        self.reduced, self.target = reduced, 0.0
        self.past, self.dx, self.theta = np.zeros_like(self.xl), np.empty_like(self.xl), np.empty_like(self.xl)
        self._at = self.complementarity()
        self._run["weigh"](self.xl, self.xu, self.zl, self.zu, self.free, _REGULAR, self.theta)

    def correct(self, target: float) -> None:
        """Aim at complementarity `target`, and allow for what the last direction bent."""
        self.target = target
        self.past, self.dx = self.dx, self.past

    def pull(self) -> FloatArray:
        """theta h, where the direction is theta (gradient - h)."""
        out = np.empty_like(self.xl)
        self._run["pulled"](*self._bent(), out)
        return out

    def move(self, gradient: FloatArray) -> Step:
        """Direction for `gradient` = A'dy + C'dlam, and how far it goes."""
        blocked = np.zeros((2, _LENGTHS))
        shrink, fade, primal, dual, both = self._run["direct"](gradient, *self._bent(), self.free, self.dx, blocked)
        return Step(1.0 / shrink, 1.0 / fade, Product(self._at, primal, dual, both), blocked)

    def advance(self, primal: float, dual: float, kept: float) -> None:
        """Follow the direction, and keep at least the share `kept` of each slack and multiplier: what would go beyond
        stops there, and its rows lack the rest."""
        self._run["follow"](
            primal, dual, kept, self.target, self.past, self.dx, self.xl, self.xu, self.zl, self.zu, self.free
        )

    def _bent(self) -> tuple[float | FloatArray, ...]:
        return self.target, self.past, self.theta, self.reduced, self.xl, self.xu, self.zl, self.zu


@kernel
def least(reduced: FloatArray, xl: FloatArray, xu: FloatArray, free: NDArray[np.bool_]) -> float:
    total = 0.0
    for begin in range(0, reduced.size, _BLOCK):
        end = begin + _BLOCK
        total += np.dot(np.minimum(reduced[begin:end], 0.0), free[begin:end] * (xl[begin:end] + xu[begin:end]))
    return total


@kernel
def weigh(
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    free: NDArray[np.bool_],
    regular: float,
    theta: FloatArray,
) -> None:
    for begin in range(0, theta.size, _BLOCK):
        end = begin + _BLOCK
        below, above = xl[begin:end], xu[begin:end]
        # One division: xl xu / (zl xu + zu xl + regular xl xu).
        both = below * above
        theta[begin:end] = free[begin:end] * both / (zl[begin:end] * above + zu[begin:end] * below + regular * both)


@kernel
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
    for begin in range(0, out.size, _BLOCK):
        end = begin + _BLOCK
        below, above = 1.0 / xl[begin:end], 1.0 / xu[begin:end]
        r, s = past[begin:end] * below, past[begin:end] * above
        bend = target * (below - above) + zl[begin:end] * r * (1.0 + r) + zu[begin:end] * s * (1.0 - s)
        out[begin:end] = theta[begin:end] * (reduced[begin:end] - bend)


@kernel
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
    """The direction, the inverse step lengths (at least 1), the terms of the complementarity polynomial, and what is
    blocked where (`Step`); block by block."""
    primal, dual, both = 0.0, 0.0, 0.0
    most, lengths = np.ones(2), blocked.shape[1]
    for begin in range(0, dx.size, _BLOCK):
        end = min(begin + _BLOCK, dx.size)
        z, w, move = zl[begin:end], zu[begin:end], free[begin:end]
        below, above = 1.0 / xl[begin:end], 1.0 / xu[begin:end]
        r, s = past[begin:end] * below, past[begin:end] * above
        low = target * below + z * r * (1.0 + r)
        high = target * above - w * s * (1.0 - s)
        d = theta[begin:end] * (gradient[begin:end] - reduced[begin:end] + low - high)
        below = d * below
        above = d * above
        low = move * (low - z - z * below)
        high = move * (high - w + w * above)
        shrink, fade = np.maximum(above, -below), np.maximum(-low / z, -high / w)
        for n, inverse in enumerate((shrink, fade)):
            most[n] = max(most[n], inverse.max())
            length = np.minimum(lengths / inverse[inverse > 1.0], lengths - 1).astype(np.int64)
            blocked[n] += np.bincount(length, minlength=lengths)
        primal += np.dot(d, z - w)
        dual += np.dot(xl[begin:end], low) + np.dot(xu[begin:end], high)
        both += np.dot(d, low - high)
        dx[begin:end] = d
    return most[0], most[1], primal, dual, both


@kernel
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
    for begin in range(0, dx.size, _BLOCK):
        end = begin + _BLOCK
        d, z, w = dx[begin:end], zl[begin:end], zu[begin:end]
        below, above = 1.0 / xl[begin:end], 1.0 / xu[begin:end]
        r, s = past[begin:end] * below, past[begin:end] * above
        low = target * below + z * r * (1.0 + r) - z - z * d * below
        high = target * above - w * s * (1.0 - s) - w + w * d * above
        zl[begin:end] = np.maximum(z + dual * free[begin:end] * low, kept * z)
        zu[begin:end] = np.maximum(w + dual * free[begin:end] * high, kept * w)
        step = np.clip(primal * d, -(1.0 - kept) * xl[begin:end], (1.0 - kept) * xu[begin:end])
        xl[begin:end] += step
        xu[begin:end] -= step
