"""Devices that choose: a schedule is a path through a small graph, and the best one at given prices is found exactly.

A device is in a mode at any time. A move takes it from mode to mode (or lets it stay), takes some ISPs, draws a profile
meanwhile and may cost something. So a wash is a move of several ISPs from "waiting" to "done" that begins within its
window, and a least running time is a move of as many ISPs into "on". What reaches beyond the horizon is cut there.

Dynamic programming backward over ISPs, modes and what is still to run, for all devices of a kind at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from optimiser.portfolio import Appliances, FloatArray, IntArray, Modes, Portfolio

__all__ = ["HELD", "Choices", "Held", "Kind", "Move", "Schedules"]

ModeArray = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Schedules:
    """One schedule per device (D,T): its mode, its power in kW, and what it costs beside the energy in EUR."""

    mode: ModeArray
    power_kw: FloatArray
    own_eur: FloatArray

    @classmethod
    def blank(cls, devices: int, isps: int) -> Schedules:
        zero = np.zeros((devices, isps))
        return cls(np.zeros((devices, isps), np.int8), zero, zero.copy())

    def put(self, devices: IntArray, other: Schedules) -> None:
        """Replace the schedules of some devices."""
        self.mode[devices], self.power_kw[devices] = other.mode, other.power_kw
        self.own_eur[devices] = other.own_eur


@dataclass(frozen=True, eq=False)
class Held:
    """A few schedules per device and the share of each (D,held): what a relaxation makes of devices that choose.
    `mode`, `power_kw` and `own_eur` (D,held,T) are as in `Schedules`."""

    share: FloatArray
    mode: ModeArray
    power_kw: FloatArray
    own_eur: FloatArray

    def largest(self) -> Schedules:
        """The schedule of each device with the largest share."""
        at = np.arange(len(self.share)), self.share.argmax(axis=1)
        return Schedules(self.mode[at], self.power_kw[at], self.own_eur[at])


@dataclass(frozen=True, eq=False)
class Move:
    """From mode `source` to `target` in `isps` ISPs, begun within `first`..`last`; for n devices: `power_kw` (n,isps),
    `rate` (n,) EUR per ISP and `once` (n,) EUR."""

    source: int
    target: int
    isps: int
    power_kw: FloatArray
    rate: FloatArray
    once: FloatArray
    first: IntArray
    last: IntArray

    def costs(self, worth: FloatArray) -> FloatArray:
        """What it costs (T,n) when begun at each ISP; inf where it may not."""
        isps = len(worth)
        out = np.tile(self.once, (isps, 1))
        for j in range(self.isps):
            out[: isps - j] += worth[j:] * self.power_kw[:, j] + self.rate
        at = np.arange(isps)[:, None]
        return np.where((self.first <= at) & (at <= self.last), out, np.inf)


@dataclass(frozen=True, eq=False)
class Kind:
    """n devices with the same moves. Each is in mode `mode` until ISP `begin`, must be in a `running` mode for `need`
    (n,) ISPs after that, and end in a `final` one. Until `begin` it draws `idle_kw` at `idle_rate` EUR per ISP."""

    device: IntArray
    moves: Sequence[Move]
    mode: IntArray
    begin: IntArray
    need: IntArray
    running: NDArray[np.bool_]
    final: NDArray[np.bool_]
    idle_kw: FloatArray
    idle_rate: FloatArray

    def values(self, worth: FloatArray) -> tuple[FloatArray, ModeArray]:
        """Least costs (T+1, still to run, modes, n) from each ISP on, and the move (T, ..) that begins them."""
        isps, count = worth.shape
        most = int(self.need.max(initial=0))
        left = np.arange(most + 1)
        value = np.full((isps + 1, most + 1, self.running.size, count), np.inf)
        value[isps, 0, self.final] = 0.0
        pick = np.full((isps, most + 1, self.running.size, count), -1, np.int8)
        costs = [move.costs(worth) for move in self.moves]
        for t in range(isps - 1, -1, -1):
            for k, move in enumerate(self.moves):
                end = min(t + move.isps, isps)
                ahead = value[end, :, move.target]
                if most and self.running[move.target]:
                    ahead = ahead[np.maximum(left - (end - t), 0)]
                ahead = ahead + costs[k][t]
                here, chosen = value[t, :, move.source], pick[t, :, move.source]
                better = ahead < here
                here[better] = ahead[better]
                chosen[better] = k
        return value, pick

    def best(self, worth: FloatArray) -> tuple[FloatArray, Schedules]:
        """The cheapest schedule at `worth` (T,n) EUR per kW and ISP: its cost (n,) and itself."""
        isps, count = worth.shape
        value, pick = self.values(worth)
        every = np.arange(count)
        until = np.minimum(self.begin, isps)
        waiting = np.arange(isps)[:, None] < until
        power = np.where(waiting, self.idle_kw, 0.0)
        own = np.where(waiting, self.idle_rate, 0.0)
        least = value[until, self.need, self.mode, every] + (power * worth + own).sum(axis=0)
        modes = np.tile(self.mode, (isps, 1)).astype(np.int8)
        now, mode, left = until.copy(), self.mode.copy(), self.need.copy()
        for t in range(isps):
            due = np.flatnonzero(now == t)
            taken = pick[t, left[due], mode[due], due]
            for k, move in enumerate(self.moves):
                who = due[taken == k]
                if not who.size:
                    continue
                end = min(t + move.isps, isps)
                modes[t:end, who] = move.target
                power[t:end, who] = move.power_kw[who, : end - t].T
                own[t:end, who] = move.rate[who]
                own[t, who] += move.once[who]
                now[who], mode[who] = end, move.target
                if self.running[move.target]:
                    left[who] = np.maximum(left[who] - (end - t), 0)
        return least, Schedules(modes.T, power.T, own.T)

    def follow(self, isps: int, n: int, begun: Sequence[tuple[int, int]]) -> Schedules:
        """The schedule (1,T) of device n that begins the moves `begun` (ISP, move)."""
        until = min(int(self.begin[n]), isps)
        out = Schedules.blank(1, isps)
        out.mode[:] = self.mode[n]
        out.power_kw[0, :until], out.own_eur[0, :until] = self.idle_kw[n], self.idle_rate[n]
        for t, k in begun:
            move, end = self.moves[k], min(t + self.moves[k].isps, isps)
            out.mode[0, t:end], out.power_kw[0, t:end] = move.target, move.power_kw[n, : end - t]
            out.own_eur[0, t:end] = move.rate[n]
            out.own_eur[0, t] += move.once[n]
        return out

    def reachable(self, isps: int) -> IntArray:
        """How much of `need` (n,) can be had; -1 where nothing can be done at all."""
        value, _ = self.values(np.zeros((isps, self.device.size)))
        ahead = value[np.minimum(self.begin, isps), :, self.mode, np.arange(self.device.size)]
        possible = np.isfinite(ahead) & (np.arange(ahead.shape[1]) <= self.need[:, None])
        return np.asarray(np.where(possible, np.arange(ahead.shape[1]), -1).max(axis=1))


HELD = tuple(f.name for f in fields(Held))


class Choices:
    """All devices of a portfolio that choose, sorted by home (D,): `appliances` (M,) and `modes` stand at these places.

    What several portfolios one after the other hold is so numbered as in all of them together.
    """

    def __init__(self, p: Portfolio) -> None:
        owner = np.concatenate([p.appliances.home, p.modes.home])
        order = np.argsort(owner, kind="stable")
        place = np.argsort(order)
        self.isps, self.home = p.isps, owner[order]
        self.appliances, self.modes = place[: len(p.appliances)], place[len(p.appliances) :]
        self.kinds = [*_appliances(p.appliances, self.appliances), *_modes(p.modes, self.modes, p.isps, p.dt_h)]

    def __len__(self) -> int:
        return len(self.home)

    def best(self, worth: FloatArray) -> tuple[FloatArray, Schedules]:
        """The cheapest schedule of each device when a kW at home i costs `worth[i,t]` EUR per ISP (N,T): cost (D,)."""
        least, out = np.zeros(len(self)), Schedules.blank(len(self), self.isps)
        for kind in self.kinds:
            least[kind.device], own = kind.best(np.ascontiguousarray(worth[self.home[kind.device]].T))
            out.put(kind.device, own)
        return least, out

    def short(self) -> IntArray:
        """By how many ISPs (D,) each must fall short of what it should run."""
        out = np.zeros(len(self), np.int64)
        for kind in self.kinds:
            out[kind.device] = kind.need - kind.reachable(self.isps)
        return out


def _appliances(a: Appliances, place: IntArray) -> Iterator[Kind]:
    """Waiting, then running for as long as the profile, then done."""
    if not len(a):
        return
    none, always = np.zeros(len(a)), np.zeros(len(a), np.int64)
    inside = np.arange(a.profile_kw.shape[1]) < a.length[:, None]
    profile = np.where(inside, a.profile_kw, 0.0)
    free = (none[:, None], none, none, always, always + np.iinfo(np.int64).max)
    yield Kind(
        device=place,
        moves=[
            Move(0, 0, 1, *free),
            Move(1, 1, 1, *free),
            Move(0, 1, profile.shape[1], profile, none, none, a.first, a.last),
        ],
        mode=always,
        begin=always,
        need=always,
        running=np.array([False, False]),
        final=np.array([False, True]),
        idle_kw=none,
        idle_rate=none,
    )


def _modes(m: Modes, place: IntArray, isps: int, dt_h: float) -> Iterator[Kind]:
    """Devices whose modes have the same least stays and may follow each other alike make a kind."""
    if not len(m):
        return
    may = np.isfinite(m.switch_eur)
    count = may.shape[1]
    alike = np.concatenate([m.stay, may.reshape(len(m), -1)], axis=1)
    _, label = np.unique(alike, axis=0, return_inverse=True)
    for kind in range(int(label.max()) + 1):
        at = np.flatnonzero(label == kind)
        first, last = np.zeros(at.size, np.int64), np.full(at.size, isps)
        rate, power = dt_h * m.cost_eur_per_h[at], m.power_kw[at]
        none = np.zeros(at.size)
        moves = [Move(k, k, 1, power[:, [k]], rate[:, k], none, first, last) for k in range(count)]
        for source, target in np.argwhere(may[at[0]]):
            if source != target:
                stay = int(m.stay[at[0], target])
                drawn = np.repeat(power[:, [target]], stay, axis=1)
                once = m.switch_eur[at, source, target]
                moves.append(Move(int(source), int(target), stay, drawn, rate[:, target], once, first, last))
        current = m.current[at]
        begin = np.maximum(m.stay[at, current] - m.held[at], 0)
        ran = np.where(current > 0, np.minimum(begin, isps), 0)
        yield Kind(
            device=place[at],
            moves=moves,
            mode=current,
            begin=begin,
            need=np.maximum(m.run[at] - ran, 0),
            running=np.arange(count) > 0,
            final=np.ones(count, bool),
            idle_kw=m.power_kw[at, current],
            idle_rate=rate[np.arange(at.size), current],
        )
