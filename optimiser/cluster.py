"""Homes on a Dask cluster: one actor per worker holds a share of them for the whole solve; needs the [dask] extra.

A round is one message to each worker and one sum back. What was asked of a worker is remembered, its homes first, and
its answers follow from that alone: when a worker is lost, its share is made anew elsewhere and taken through the same
calls, so the plan is the one that would have come without the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimiser import interior
from optimiser.interior.box import Step
from optimiser.interior.fleet import Carrier, Together, in_process, joined
from optimiser.interior.shard import Offer, State
from optimiser.portfolio import ARRAY_FIELDS, Appliances, FloatArray, Modes, Portfolio, Tariffs

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SETTINGS", "carrier", "local"]

_LOSSES = 3
_GONE = (OSError, RuntimeError, TimeoutError)
_MALLOC = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), 1 << 28)
SETTINGS: Mapping[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in _MALLOC.items()},
}
"""What Dask is to be told where scheduler and workers are started: to look at itself, and for work to move, seldom or
not at all (an actor stays where it is), and to keep memory that arrays will want again."""
Call = tuple[str, tuple[Any, ...]]
Packed = tuple[NDArray[Any], ...]


def carrier(client: Client, *, patience_s: float = 600.0) -> Carrier:
    """Puts homes onto the workers that `client` (a distributed.Client) has, an equal share on each.

    A worker that has not answered after `patience_s` counts as lost. Where none is left, its share is computed here.
    A client with `direct_to_workers` spares the scheduler all messages.
    """

    def place(p: Portfolio, tariffs: Tariffs, nudge_eur_per_kwh: float) -> list[Spread]:
        workers = sorted(_workers(client)) or [""]
        parts = [part for part in np.array_split(np.arange(p.homes), len(workers)) if part.size]
        shares = (Share.of(p.take(part), tariffs.take(part), nudge_eur_per_kwh, p.groups) for part in parts)
        return [Spread([_Remote(client, *each, patience_s) for each in zip(workers, shares, strict=False)])]

    return place


@contextmanager
def local(workers: int) -> Iterator[Client]:
    """A client of so many worker processes on this machine, one thread each, that are there for plans alone.

    Raises:
        ImportError: the [dask] extra is not installed.
    """
    import dask
    from distributed import Client, LocalCluster

    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        dask.config.set(SETTINGS),
        LocalCluster(**options) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster, direct_to_workers=True) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


class Share(NamedTuple):
    """Some homes as they travel; `homes` and `prices` are by field, `_packed`."""

    dt_h: float
    homes: Mapping[str, Packed]
    appliances: Appliances
    modes: Modes
    prices: Mapping[str, Packed]
    nudge_eur_per_kwh: float
    groups: int

    @classmethod
    def of(cls, p: Portfolio, tariffs: Tariffs, nudge_eur_per_kwh: float, groups: int) -> Share:
        """Homes at some of so many congestion points."""
        homes = {name: _packed(getattr(p, name)) for name in ARRAY_FIELDS}
        prices = {field.name: _packed(getattr(tariffs, field.name)) for field in fields(tariffs)}
        return cls(p.dt_h, homes, p.appliances, p.modes, prices, nudge_eur_per_kwh, groups)

    def unpacked(self) -> tuple[Portfolio, Tariffs]:
        homes, prices = ({name: _whole(packed) for name, packed in each.items()} for each in (self.homes, self.prices))
        return Portfolio(dt_h=self.dt_h, appliances=self.appliances, modes=self.modes, **homes), Tariffs(**prices)


def _packed(values: NDArray[Any]) -> Packed:
    """First values along the last axis (time), which rows change after it, and those rows whole: half the bytes, as
    most homes lack some device. What has one axis goes as it is."""
    if values.ndim < 2:
        return (values,)
    changing = (values != values[..., :1]).any(axis=-1)
    return values[..., 0].copy(), changing, values[changing]


def _joined(powers: Sequence[dict[str, Packed]]) -> dict[str, Packed]:
    """As `fleet.joined`, of what is still packed."""
    parts: list[dict[tuple[str, int], NDArray[Any]]] = [
        {(name, n): part for name, packed in each.items() for n, part in enumerate(packed)} for each in powers
    ]
    whole: dict[str, Packed] = {}
    for (name, _), part in joined(parts).items():
        whole[name] = (*whole.get(name, ()), part)
    return whole


def _whole(packed: Packed) -> NDArray[Any]:
    first, *rest = packed
    if not rest:
        return first
    changing, rows = rest
    out = np.repeat(first[..., None], rows.shape[-1], axis=-1)
    out[changing] = rows
    out.setflags(write=False)
    return out


class Holder(Together):
    """The actor: a share of the homes at a worker. Calls are numbered, so one that lost its state is found out."""

    def __init__(self) -> None:
        self._done = 0

    def hold(self, share: Share, compiled: bool) -> tuple[FloatArray, float]:
        """Take up the homes; where they start."""
        if compiled:
            interior.warm_up()
        super().__init__(in_process(*share.unpacked(), share.nudge_eur_per_kwh, groups=share.groups))
        return self.net, self.scale

    def packed_powers(self) -> dict[str, Packed]:
        return {name: _packed(values) for name, values in self.powers().items()}

    def take(self, number: int, calls: Sequence[Call]) -> Any:
        """Carry out calls, the first of which is call `number`; the answer to the last.

        Raises:
            OSError: this is not the actor that the earlier calls went to.
        """
        if number != self._done:
            raise OSError(f"call {number} came to an actor that has seen {self._done}")
        answers = [getattr(self, name)(*arguments) for name, arguments in calls]
        self._done += len(calls)
        return answers[-1]


class Spread:
    """All shares as one group of homes (`fleet.Homes`): a call goes to every worker before any answer is awaited."""

    def __init__(self, shares: Sequence[_Remote]) -> None:
        self._shares = shares
        opening = self._received([share.place() for share in shares])
        self.net: FloatArray = np.sum([net for net, _ in opening], axis=0)
        self.scale = float(np.mean([scale for _, scale in opening]))

    @property
    def notes(self) -> Sequence[str]:
        return [note for share in self._shares for note in share.notes]

    def _sum(self, name: str, *arguments: Any) -> Any:
        return reduce(add, self._ask(name, *arguments))

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        return self._received([share.send(name, *arguments) for share in self._shares])

    def _received(self, waits: Sequence[Callable[[], Any]]) -> list[Any]:
        return [share.receive(wait) for share, wait in zip(self._shares, waits, strict=True)]

    def state(self, price: FloatArray, certain: FloatArray) -> State:
        answer: State = self._sum("state", price, certain)
        return answer

    def factor(self) -> Offer:
        answer: Offer = self._sum("factor")
        return answer

    def direction(self, move: FloatArray) -> Step:
        answer: Step = self._sum("direction", move)
        return answer

    def correct(self, target: float) -> FloatArray:
        answer: FloatArray = self._sum("correct", target)
        return answer

    def advance(self, primal: float, dual: float, kept: float) -> None:
        """Nothing is answered, so it travels with the next call."""
        for share in self._shares:
            share.remember("advance", primal, dual, kept)

    def powers(self) -> dict[str, NDArray[Any]]:
        return {name: _whole(packed) for name, packed in _joined(self._ask("packed_powers")).items()}


class _Remote:
    """One share, the worker ("" is this process) that holds it now, and all calls since the solve began."""

    def __init__(self, client: Client, worker: str, share: Share, patience_s: float) -> None:
        self._client, self._worker, self._patience_s = client, worker, patience_s
        self._homes = len(share.homes["group"][0])
        self._calls: list[Call] = [("hold", (share, interior.compiled()))]
        self._answered = 0
        self._losses = 0
        self._actor: Any = None
        self.notes: list[str] = []

    def place(self) -> Callable[[], Any]:
        """Have an actor made, and send it all calls; what to call for the answer to the last."""
        self._answered, self._actor = 0, None
        if self._worker:
            options: dict[str, Any] = {"workers": [self._worker], "allow_other_workers": False, "pure": False}
            self._made = self._client.submit(Holder, actor=True, **options)
        else:
            self._here = Holder()
        return self._sent()

    def remember(self, name: str, *arguments: Any) -> None:
        self._calls.append((name, arguments))

    def send(self, name: str, *arguments: Any) -> Callable[[], Any]:
        """Send a call with those remembered; what to call for the answer."""
        self.remember(name, *arguments)
        return self._sent()

    def _sent(self) -> Callable[[], Any]:
        calls = self._answered, self._calls[self._answered :]
        if not self._worker:
            return partial(self._here.take, *calls)
        try:
            if self._actor is None:  # asked for once: each time is a round of its own
                self._actor = self._made.result(timeout=self._patience_s)
            return partial(self._actor.take(*calls).result, timeout=self._patience_s)
        except _GONE as error:
            return partial(_again, error)

    def receive(self, wait: Callable[[], Any]) -> Any:
        """The answer to the last call, from whoever can still give it."""
        while True:
            try:
                answer = wait()
            except _GONE as error:
                if not self._worker:
                    raise
                wait = self._moved(error)
            else:
                self._answered = len(self._calls)
                return answer

    def _moved(self, error: Exception) -> Callable[[], Any]:
        self._losses += 1
        others = sorted(_workers(self._client) - {self._worker}) if self._losses < _LOSSES else []
        lost, self._worker = self._worker, others[0] if others else ""
        self.notes.append(
            f"worker {lost} was lost at call {len(self._calls)} ({type(error).__name__}: {error}); its "
            f"{self._homes} homes were taken through all calls again by {self._worker or 'the coordinator'}"
        )
        return self.place()


def _again(error: Exception) -> Any:
    raise error


def _workers(client: Client) -> set[str]:
    return set(client.scheduler_info(n_workers=-1)["workers"])
