"""Homes on a Dask cluster: one actor per worker holds a share of them for the whole solve; needs the [dask] extra.

A round is one message to each worker and one sum back. What was asked of a worker is remembered (prices and moves of
prices, no home's data), and its answers follow from that alone: when a worker is lost, its share is made anew elsewhere
and taken through the same calls, so the plan is the one that would have come without the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimiser import interior
from optimiser.interior.box import Step
from optimiser.interior.fleet import Carrier, Together, in_process, joined
from optimiser.interior.shard import Offer, State
from optimiser.portfolio import FloatArray, Portfolio, Tariffs

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["carrier"]

_LOSSES = 3
_GONE = (OSError, RuntimeError, TimeoutError)
Share = tuple[Portfolio, Tariffs, float]
Call = tuple[str, tuple[Any, ...]]


def carrier(client: Client, *, patience_s: float = 600.0) -> Carrier:
    """Puts homes onto the workers that `client` (a distributed.Client) has, an equal share on each.

    A worker that has not answered after `patience_s` counts as lost. Where none is left, its share is computed here.
    """

    def place(p: Portfolio, tariffs: Tariffs, nudge_eur_per_kwh: float) -> list[Spread]:
        workers = sorted(_workers(client)) or [""]
        parts = [part for part in np.array_split(np.arange(p.homes), len(workers)) if part.size]
        shares = [(p.take(part), tariffs.take(part), nudge_eur_per_kwh) for part in parts]
        return [Spread([_Remote(client, *each, patience_s) for each in zip(workers, shares, strict=False)], p.groups)]

    return place


class Holder(Together):
    """The actor: a share of the homes at a worker. Calls are numbered, so one that lost its state is found out."""

    def __init__(self, share: Share, groups: int, compiled: bool) -> None:
        if compiled:
            interior.warm_up()
        super().__init__(in_process(*share, groups=groups))
        self._done = 0

    def opening(self) -> tuple[FloatArray, float]:
        return self.net, self.scale

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

    def __init__(self, shares: Sequence[_Remote], groups: int) -> None:
        self._shares = shares
        for share in shares:
            share.place(groups)
        opening = self._ask("opening")
        self.net: FloatArray = np.sum([net for net, _ in opening], axis=0)
        self.scale = float(np.mean([scale for _, scale in opening]))

    @property
    def notes(self) -> Sequence[str]:
        return [note for share in self._shares for note in share.notes]

    def _sum(self, name: str, *arguments: Any) -> Any:
        return reduce(add, self._ask(name, *arguments))

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        waits = [share.send(name, *arguments) for share in self._shares]
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

    def advance(self, primal: float, dual: float) -> None:
        """Nothing is answered, so it travels with the next call."""
        for share in self._shares:
            share.remember("advance", primal, dual)

    def powers(self) -> dict[str, NDArray[Any]]:
        return joined(self._ask("powers"))


class _Remote:
    """One share, the worker ("" is this process) that holds it now, and all calls since the solve began."""

    def __init__(self, client: Client, worker: str, share: Share, patience_s: float) -> None:
        self._client, self._worker, self._share, self._patience_s = client, worker, share, patience_s
        self._calls: list[Call] = []
        self._answered = 0
        self._losses = 0
        self._groups = 0
        self._actor: Any = None
        self.notes: list[str] = []

    def place(self, groups: int) -> None:
        """Have the actor made; it need not be ready when this returns."""
        self._groups = groups
        arguments = self._share, groups, interior.compiled()
        if self._worker:
            options: dict[str, Any] = {"workers": [self._worker], "allow_other_workers": False, "pure": False}
            self._actor = self._client.submit(Holder, *arguments, actor=True, **options)
        else:
            self._here = Holder(*arguments)

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
            actor = self._actor.result(timeout=self._patience_s)
            return partial(actor.take(*calls).result, timeout=self._patience_s)
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
                self._move(error)
                wait = self._sent()
            else:
                self._answered = len(self._calls)
                return answer

    def _move(self, error: Exception) -> None:
        self._losses += 1
        others = sorted(_workers(self._client) - {self._worker}) if self._losses < _LOSSES else []
        lost, self._worker, self._answered = self._worker, others[0] if others else "", 0
        self.place(self._groups)
        self.notes.append(
            f"worker {lost} was lost at call {len(self._calls)} ({type(error).__name__}: {error}); its "
            f"{self._share[0].homes} homes were taken through all calls again by {self._worker or 'the coordinator'}"
        )


def _again(error: Exception) -> Any:
    raise error


def _workers(client: Client) -> set[str]:
    return set(client.scheduler_info(n_workers=-1)["workers"])
