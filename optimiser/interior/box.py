"""Variables in boxes, l <= x <= u, and the interior point's arithmetic on them; one mechanism for homes and limits.

The slacks xl = x - l and xu = u - x are kept as variables of their own: recomputed from x they lose all digits near a
bound. Variables with l = u never move; their slacks and multipliers stand at 1 and are left out of every sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimiser.interior.fast import kernel, kernels
from optimiser.portfolio import FloatArray

__all__ = ["Box", "Product", "Step"]

_REGULAR = 1e-8
_FIXED = 1e-9
_MARGIN = 0.02
_BLOCK = 8192  # stays in the cache


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
    """A direction: how far it may be followed before a slack or a multiplier reaches zero."""

    primal: float
    dual: float
    product: Product

    def __add__(self, other: Step) -> Step:
        return Step(min(self.primal, other.primal), min(self.dual, other.dual), self.product + other.product)


class Box:
    """Flat arrays (V,) of variables: bounds, costs, slacks, multipliers, and the direction that is being taken."""

    def __init__(
        self,
        lower: FloatArray,
        upper: FloatArray,
        cost: FloatArray,
        start: FloatArray,
        dual_lower: FloatArray | float,
        dual_upper: FloatArray | float,
    ) -> None:
        self._run = kernels()
        self.lower, self.upper, self.cost = lower, upper, cost
        width = upper - lower
        free = width > _FIXED
        self.free = free.astype(np.float64)
        self.count = int(free.sum())
        start = np.clip(start, lower + _MARGIN * width, upper - _MARGIN * width)
        self.xl = np.where(free, start - lower, 1.0)
        self.xu = np.where(free, upper - start, 1.0)
        self.zl = np.where(free, dual_lower, 1.0)
        self.zu = np.where(free, dual_upper, 1.0)
        self.theta, self.h, self.dx, self.dzl, self.dzu = (np.zeros_like(lower) for _ in range(5))
        self.bend_l, self.bend_u = np.zeros_like(lower), np.zeros_like(lower)

    @property
    def x(self) -> FloatArray:
        return np.asarray(self.lower + self.free * self.xl)

    def objective(self) -> float:
        return float(self.cost @ self.x)

    def bound(self, reduced: FloatArray) -> float:
        """Least of reduced.x over the boxes."""
        return float(np.where(reduced > 0, self.lower, self.upper) @ reduced)

    def complementarity(self) -> float:
        return float(self.xl @ self.zl + self.xu @ self.zu) - 2.0 * (self.free.size - self.count)

    def aim(self, reduced: FloatArray) -> None:
        """Weights theta = 1 / (zl/xl + zu/xu), and the right-hand side of the affine direction (no complementarity)."""
        self._run["weigh"](self.xl, self.xu, self.zl, self.zu, self.free, _REGULAR, self.theta)
        self.h[:] = reduced
        self.bend_l[:] = 0.0
        self.bend_u[:] = 0.0

    def correct(self, target: float, reduced: FloatArray) -> None:
        """Right-hand side that aims at complementarity `target` and allows for what the last direction bent."""
        self._run["bend"](
            target, self.dx, self.dzl, self.dzu, self.xl, self.xu, reduced, self.bend_l, self.bend_u, self.h
        )

    def move(self, gradient: FloatArray) -> Step:
        """Direction for `gradient` = A'dy + C'dlam (overwritten), and how far it goes."""
        shrink, fade, primal, dual, both = self._run["direct"](
            gradient,
            self.h,
            self.theta,
            self.free,
            self.xl,
            self.xu,
            self.zl,
            self.zu,
            self.bend_l,
            self.bend_u,
            self.dx,
            self.dzl,
            self.dzu,
        )
        return Step(_reach(shrink), _reach(fade), Product(self.complementarity(), primal, dual, both))

    def advance(self, primal: float, dual: float) -> None:
        self._run["follow"](primal, dual, self.dx, self.dzl, self.dzu, self.xl, self.xu, self.zl, self.zu)


def _reach(shrink: float) -> float:
    return 1.0 / shrink if shrink > 1e-12 else 1e12


@kernel
def weigh(
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    free: FloatArray,
    regular: float,
    theta: FloatArray,
) -> None:
    for begin in range(0, theta.size, _BLOCK):
        end = begin + _BLOCK
        weight = zl[begin:end] / xl[begin:end] + zu[begin:end] / xu[begin:end] + regular
        theta[begin:end] = free[begin:end] / weight


@kernel
def bend(
    target: float,
    dx: FloatArray,
    dzl: FloatArray,
    dzu: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    reduced: FloatArray,
    bend_l: FloatArray,
    bend_u: FloatArray,
    h: FloatArray,
) -> None:
    for begin in range(0, dx.size, _BLOCK):
        end = begin + _BLOCK
        d = dx[begin:end]
        low = (target - d * dzl[begin:end]) / xl[begin:end]
        high = (target + d * dzu[begin:end]) / xu[begin:end]
        h[begin:end] = reduced[begin:end] - low + high
        bend_l[begin:end], bend_u[begin:end] = low, high


@kernel
def direct(
    gradient: FloatArray,
    h: FloatArray,
    theta: FloatArray,
    free: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
    bend_l: FloatArray,
    bend_u: FloatArray,
    dx: FloatArray,
    dzl: FloatArray,
    dzu: FloatArray,
) -> tuple[float, float, float, float, float]:
    """The direction, the inverse step lengths, and the terms of the complementarity polynomial; block by block."""
    shrink, fade, primal, dual, both = 0.0, 0.0, 0.0, 0.0, 0.0
    for begin in range(0, dx.size, _BLOCK):
        end = begin + _BLOCK
        below, above, z, w = xl[begin:end], xu[begin:end], zl[begin:end], zu[begin:end]
        d = theta[begin:end] * (gradient[begin:end] - h[begin:end])
        low = d / below
        high = d / above
        dl = free[begin:end] * (bend_l[begin:end] - z - z * low)
        du = free[begin:end] * (bend_u[begin:end] - w + w * high)
        shrink = max(shrink, high.max(), -low.min())
        fade = max(fade, -(dl / z).min(), -(du / w).min())
        primal += np.sum(d * (z - w))
        dual += np.sum(below * dl + above * du)
        both += np.sum(d * (dl - du))
        dx[begin:end], dzl[begin:end], dzu[begin:end] = d, dl, du
    return shrink, fade, primal, dual, both


@kernel
def follow(
    primal: float,
    dual: float,
    dx: FloatArray,
    dzl: FloatArray,
    dzu: FloatArray,
    xl: FloatArray,
    xu: FloatArray,
    zl: FloatArray,
    zu: FloatArray,
) -> None:
    xl += primal * dx
    xu -= primal * dx
    zl += dual * dzl
    zu += dual * dzu
