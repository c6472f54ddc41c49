"""Many small block-tridiagonal systems at once: k x k blocks along time, diagonal blocks beside them, one per home.

Factored forward, M[t] = D[t] - O[t] M[t-1]^-1 O[t]; with E[t] = -M[t]^-1 O[t+1] the inverse follows from its last
block backward: K^-1[t,t] = M[t]^-1 + E[t] K^-1[t+1,t+1] E[t]' and K^-1[t,s] = E[t] ... E[s-1] K^-1[s,s] for t < s.

Kernels work on vectors over homes, so numpy runs them well, and numba compiles them as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from optimiser.interior.fast import kernel, kernels
from optimiser.portfolio import FloatArray, IntArray

__all__ = ["Chain"]

_CHUNK = 12
_LIFT, _LEAST = 1.0 + 1e-11, 1e-16


class Chain:
    """`diagonal` (T,k,k,n), symmetric; `beside` (T,k,n), its t couples t with t - 1 (t = 0 is not looked at)."""

    def __init__(self, diagonal: FloatArray, beside: FloatArray) -> None:
        self._run = kernels()
        self.inverse = np.empty_like(diagonal)
        self.step = np.zeros_like(diagonal)
        place = np.arange(diagonal.shape[1])
        diagonal[:, place, place] *= _LIFT
        diagonal[:, place, place] += _LEAST
        self._run["factor"](diagonal, beside, self.inverse, self.step)

    def solve(self, right: FloatArray) -> FloatArray:
        """y (T,k,n) with K y = right; `right` is overwritten. (T,k,r,n): for r right-hand sides at once."""
        self._run["solve"](self.inverse, self.step, right)
        return right

    def take(self, homes: IntArray) -> Chain:
        """The factored systems of some homes."""
        part = Chain.__new__(Chain)
        part._run, part.inverse, part.step = self._run, self.inverse[..., homes], self.step[..., homes]
        return part

    def coupled(self, phi: FloatArray, groups: Sequence[IntArray]) -> FloatArray:
        """phi' K^-1 phi, summed over the homes of each group: (G,T,T). `phi` is (T,k,n).

        Time is cut into chunks: what reaches from one chunk into another is a matrix product over homes and stores,
        which is where nearly all of the work lies.
        """
        isps, stores, count = phi.shape
        out = np.zeros((len(groups), isps, isps))
        source = np.empty_like(phi)
        self._run["sources"](self.inverse, self.step, phi, source)
        edges = [*range(0, isps, _CHUNK), isps]
        reach: list[FloatArray] = []
        across: list[FloatArray] = []
        for n, (begin, end) in enumerate(pairwise(edges)):
            here = np.zeros((end - begin, end - begin, count))
            self._run["within"](self.step, phi, source, begin, end, here)
            for g, members in enumerate(groups):
                block = here.sum(axis=2) if members.size == count else here[:, :, members].sum(axis=2)
                out[g, begin:end, begin:end] = block + np.triu(block, 1).T
            moved = np.empty((end - begin, stores, count))
            self._run["carried"](self.step, source, begin, end, moved)
            for earlier in range(n - 1, -1, -1):
                rows = slice(edges[earlier], edges[earlier + 1])
                for g, members in enumerate(groups):
                    block = _product(reach[earlier], moved, members, count)
                    out[g, rows, begin:end] = block
                    out[g, begin:end, rows] = block.T
                if earlier:
                    self._run["passed"](across[earlier], moved)
            reached, product = np.empty((end - begin, stores, count)), np.empty((stores, stores, count))
            self._run["reached"](self.step, phi, begin, end, reached, product)
            reach.append(reached)
            across.append(product)
        return out


def _product(left: FloatArray, right: FloatArray, members: IntArray, count: int) -> FloatArray:
    if members.size != count:
        left, right = left[:, :, members], right[:, :, members]
    return np.asarray(left.reshape(len(left), -1) @ right.reshape(len(right), -1).T)


@kernel
def factor(diagonal: FloatArray, beside: FloatArray, inverse: FloatArray, step: FloatArray) -> None:
    """M[t]^-1 in closed form (k = 1, 2, 3) and E[t]."""
    isps, k = diagonal.shape[0], diagonal.shape[1]
    for t in range(isps):
        m = diagonal[t]
        if t > 0:
            for i in range(k):
                for j in range(i, k):
                    m[i, j] -= beside[t, i] * beside[t, j] * inverse[t - 1, i, j]
                for j in range(k):
                    step[t - 1, i, j] = -inverse[t - 1, i, j] * beside[t, j]
        out = inverse[t]
        if k == 1:
            out[0, 0] = 1.0 / m[0, 0]
        elif k == 2:
            scale = 1.0 / (m[0, 0] * m[1, 1] - m[0, 1] * m[0, 1])
            out[0, 0] = m[1, 1] * scale
            out[1, 1] = m[0, 0] * scale
            out[0, 1] = -m[0, 1] * scale
            out[1, 0] = out[0, 1]
        else:
            p = m[1, 1] * m[2, 2] - m[1, 2] * m[1, 2]
            q = m[0, 2] * m[1, 2] - m[0, 1] * m[2, 2]
            r = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
            scale = 1.0 / (m[0, 0] * p + m[0, 1] * q + m[0, 2] * r)
            out[0, 0] = p * scale
            out[0, 1] = q * scale
            out[0, 2] = r * scale
            out[1, 1] = (m[0, 0] * m[2, 2] - m[0, 2] * m[0, 2]) * scale
            out[1, 2] = (m[0, 1] * m[0, 2] - m[0, 0] * m[1, 2]) * scale
            out[2, 2] = (m[0, 0] * m[1, 1] - m[0, 1] * m[0, 1]) * scale
            out[1, 0] = out[0, 1]
            out[2, 0] = out[0, 2]
            out[2, 1] = out[1, 2]


@kernel
def solve(inverse: FloatArray, step: FloatArray, y: FloatArray) -> None:
    """Forward and backward sweep in place."""
    isps, k = y.shape[:2]
    now = np.empty_like(y[0])
    for t in range(1, isps):
        for i in range(k):
            for j in range(k):
                y[t, i] += step[t - 1, j, i] * y[t - 1, j]
    for t in range(isps - 1, -1, -1):
        for i in range(k):
            now[i] = inverse[t, i, 0] * y[t, 0]
            for j in range(1, k):
                now[i] += inverse[t, i, j] * y[t, j]
            if t + 1 < isps:
                for j in range(k):
                    now[i] += step[t, i, j] * y[t + 1, j]
        for i in range(k):
            y[t, i] = now[i]


@kernel
def sources(inverse: FloatArray, step: FloatArray, phi: FloatArray, source: FloatArray) -> None:
    """source[t] = K^-1[t,t] phi[t], the diagonal blocks of the inverse running backward."""
    isps, k, count = phi.shape
    last, half = np.empty((k, k, count)), np.empty((k, k, count))
    for t in range(isps - 1, -1, -1):
        if t + 1 < isps:
            for i in range(k):
                for j in range(k):
                    half[i, j] = step[t, i, 0] * last[0, j]
                    for h in range(1, k):
                        half[i, j] += step[t, i, h] * last[h, j]
            for i in range(k):
                for j in range(i, k):
                    last[i, j] = inverse[t, i, j]
                    for h in range(k):
                        last[i, j] += half[i, h] * step[t, j, h]
                    if j > i:
                        last[j, i] = last[i, j]
        else:
            for i in range(k):
                for j in range(k):
                    last[i, j] = inverse[t, i, j]
        for i in range(k):
            source[t, i] = last[i, 0] * phi[t, 0]
            for j in range(1, k):
                source[t, i] += last[i, j] * phi[t, j]


@kernel
def within(step: FloatArray, phi: FloatArray, source: FloatArray, begin: int, end: int, here: FloatArray) -> None:
    """here[t,s] = phi[t]' E[t] .. E[s-1] source[s] for begin <= t <= s < end, counted from `begin`."""
    k, count = phi.shape[1], phi.shape[2]
    length = end - begin
    moved = np.empty((k, length, count))
    now = np.empty((k, length, count))
    for t in range(end - 1, begin - 1, -1):
        at = t - begin
        for i in range(k):
            for j in range(k):
                if j == 0:
                    now[i, at + 1 :] = step[t, i, j] * moved[j, at + 1 :]
                else:
                    now[i, at + 1 :] += step[t, i, j] * moved[j, at + 1 :]
            now[i, at] = source[t, i]
        for i in range(k):
            moved[i, at:] = now[i, at:]
            here[at, at:] += phi[t, i] * moved[i, at:]


@kernel
def reached(step: FloatArray, phi: FloatArray, begin: int, end: int, out: FloatArray, product: FloatArray) -> None:
    """out[t] = phi[t]' E[t] .. E[end-1] for a chunk; `product` becomes E[begin] .. E[end-1]."""
    k, count = phi.shape[1], phi.shape[2]
    now = np.empty((k, k, count))
    for t in range(end - 1, begin - 1, -1):
        for i in range(k):
            for j in range(k):
                if t + 1 < end:
                    now[i, j] = step[t, i, 0] * product[0, j]
                    for h in range(1, k):
                        now[i, j] += step[t, i, h] * product[h, j]
                else:
                    now[i, j] = step[t, i, j]
        for j in range(k):
            out[t - begin, j] = now[0, j] * phi[t, 0]
            for i in range(1, k):
                out[t - begin, j] += now[i, j] * phi[t, i]
        product[:] = now


@kernel
def carried(step: FloatArray, source: FloatArray, begin: int, end: int, out: FloatArray) -> None:
    """out[s] = E[begin] .. E[s-1] source[s] for a chunk."""
    k, count = source.shape[1], source.shape[2]
    product, now = np.empty((k, k, count)), np.empty((k, k, count))
    out[0] = source[begin]
    for s in range(begin + 1, end):
        for i in range(k):
            for j in range(k):
                if s == begin + 1:
                    now[i, j] = step[begin, i, j]
                else:
                    now[i, j] = product[i, 0] * step[s - 1, 0, j]
                    for h in range(1, k):
                        now[i, j] += product[i, h] * step[s - 1, h, j]
        product[:] = now
        for i in range(k):
            out[s - begin, i] = product[i, 0] * source[s, 0]
            for j in range(1, k):
                out[s - begin, i] += product[i, j] * source[s, j]


@kernel
def passed(across: FloatArray, moved: FloatArray) -> None:
    """moved[s] = across moved[s] in place."""
    length, k, count = moved.shape
    now = np.empty((k, length, count))
    for i in range(k):
        now[i] = across[i, 0] * moved[:, 0]
        for j in range(1, k):
            now[i] += across[i, j] * moved[:, j]
    for i in range(k):
        moved[:, i] = now[i]
