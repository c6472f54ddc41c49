"""A group of homes as the coordinator knows it, wherever it lives: in this process, or held by workers of a cluster.

`Shard` is such a group, `Together` joins several to one. A `Carrier` says where the homes of a plan are put.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from optimiser.central import Raw
from optimiser.interior.box import Step
from optimiser.interior.shard import Offer, Shard, State
from optimiser.interior.shares import ChoosingShard
from optimiser.portfolio import FloatArray, Portfolio, Tariffs

__all__ = ["Carrier", "Homes", "Together", "in_process", "joined", "resumed"]

K = TypeVar("K")
_SHARD = 1024
"""Homes per shard: its arrays fit the caches better than those of all homes at once."""


class Homes(Protocol):
    """See `Shard`: each call is a round, and each answer a sum over the homes; only `powers` is per home.

    `notes` says in words what happened to the group since it was made.
    """

    net: FloatArray
    scale: float

    @property
    def notes(self) -> Sequence[str]: ...

    def state(self, price: FloatArray, certain: FloatArray) -> State: ...

    def factor(self) -> Offer: ...

    def direction(self, move: FloatArray) -> Step: ...

    def correct(self, target: float) -> FloatArray: ...

    def advance(self, primal: float, dual: float, kept: float) -> None: ...

    def powers(self) -> dict[str, NDArray[Any]]: ...


Carrier = Callable[[Portfolio, Tariffs, float], Sequence[Homes]]
"""(homes, prices, time preference) -> groups that hold all homes in order."""


def in_process(p: Portfolio, tariffs: Tariffs, nudge_eur_per_kwh: float, *, groups: int = 0) -> list[Shard]:
    """The carrier for one process. `groups`: how many congestion points there are, where not all have a home here."""
    shards = []
    for part in np.array_split(np.arange(p.homes), -(-p.homes // _SHARD)):
        homes = p.take(part)
        make = ChoosingShard if len(homes.appliances) or len(homes.modes) else Shard
        shards.append(make(homes, tariffs.take(part), groups or p.groups, nudge_eur_per_kwh))
    return shards


def joined(powers: Sequence[dict[K, NDArray[Any]]]) -> dict[K, NDArray[Any]]:
    """What several groups of homes give, one after the other, and taken from them; some have devices that others
    lack."""
    if len(powers) == 1:
        return powers[0]
    names = dict.fromkeys(name for power in powers for name in power)
    return {name: np.concatenate([power.pop(name) for power in powers if name in power]) for name in names}


def resumed(
    p: Portfolio, tariffs: Tariffs, nudge_eur_per_kwh: float, point: Raw, prices: FloatArray, room_kw: float
) -> list[Shard]:
    """As `in_process`, starting near a known answer (`Shard.resume`)."""
    shards = in_process(p, tariffs, nudge_eur_per_kwh)
    for shard, homes in zip(shards, np.array_split(np.arange(p.homes), len(shards)), strict=True):
        shard.resume(point, homes, prices, room_kw)
    return shards


class Together:
    """Several groups that answer as one."""

    def __init__(self, parts: Sequence[Homes]) -> None:
        self._parts = parts
        self.net = np.sum([part.net for part in parts], axis=0)
        self.scale = float(np.mean([part.scale for part in parts]))

    @property
    def notes(self) -> Sequence[str]:
        return [note for part in self._parts for note in part.notes]

    def state(self, price: FloatArray, certain: FloatArray) -> State:
        return reduce(add, [part.state(price, certain) for part in self._parts])

    def factor(self) -> Offer:
        return reduce(add, [part.factor() for part in self._parts])

    def direction(self, move: FloatArray) -> Step:
        return reduce(add, [part.direction(move) for part in self._parts])

    def correct(self, target: float) -> FloatArray:
        return reduce(add, [part.correct(target) for part in self._parts])

    def advance(self, primal: float, dual: float, kept: float) -> None:
        for part in self._parts:
            part.advance(primal, dual, kept)

    def powers(self) -> dict[str, NDArray[Any]]:
        return joined([part.powers() for part in self._parts])
