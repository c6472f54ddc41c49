"""Homes on a Dask cluster: the same plan as in one process, also when a worker dies in the middle."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from optimiser import Status, cluster, interior, plan
from optimiser.cluster import Holder, Share
from optimiser.interior.fleet import Together, in_process
from optimiser.synthetic import neighbourhood

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


class Local:
    """As much of a client as placing homes needs; `dead` workers fail from their next call on."""

    def __init__(self, *workers: str) -> None:
        self.workers = list(workers)
        self.dead: set[str] = set()
        self.messages = 0

    def scheduler_info(self, n_workers: int = 5) -> dict[str, Any]:
        return {"workers": {w: {} for w in self.workers if w not in self.dead}}

    def submit(self, cls: type[Any], *arguments: Any, workers: list[str], **options: Any) -> Any:
        assert options == {"actor": True, "allow_other_workers": False, "pure": False}
        return _Future(_Proxy(self, workers[0], cls(*arguments)))


class _Future:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout: float) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class _Proxy:
    def __init__(self, client: Local, worker: str, holder: Holder) -> None:
        self._client, self._worker, self._holder = client, worker, holder

    def take(self, *arguments: Any) -> _Future:
        self._client.messages += 1
        if self._worker in self._client.dead:
            return _Future(OSError("gone"))
        return _Future(self._holder.take(*arguments))


def test_the_same_plan_as_in_one_process_with_one_message_a_round() -> None:
    case = neighbourhood(8, 3)
    client = Local("a", "b")
    there = plan(*case, gap=1e-2, carrier=cluster.carrier(client))
    here = plan(*case, gap=1e-2, carrier=lambda *homes: [Together(_halves(*homes))])
    assert there.gap <= 1e-2
    assert there.notes == ()
    assert there.iterations == here.iterations
    assert np.allclose(there.net_kw, here.net_kw, atol=1e-9)
    rounds = 1 + 5 * there.iterations + 2 + 2  # opening, five an iteration, and the last state and powers
    assert client.messages <= 2 * rounds


def _halves(p: Any, tariffs: Any, nudge: float) -> list[Any]:
    parts = np.array_split(np.arange(p.homes), 2)
    return [s for part in parts for s in in_process(p.take(part), tariffs.take(part), nudge, groups=p.groups)]


@pytest.mark.parametrize("survivors", [1, 0])
def test_a_lost_worker_changes_nothing_but_the_notes(survivors: int) -> None:
    case = neighbourhood(6, 5)
    whole = plan(*case, carrier=cluster.carrier(Local("a", "b")))
    client = Local("a", "b")

    class Dying(Holder):
        def correct(self, target: float) -> Any:
            if client.messages > 20:
                client.dead.update(["a", "b"][: 2 - survivors])
            return super().correct(target)

    submit = client.submit
    client.submit = lambda cls, *rest, **options: submit(Dying, *rest, **options)
    found = plan(*case, carrier=cluster.carrier(client))
    assert found.cost_eur == pytest.approx(whole.cost_eur, rel=1e-9)
    assert found.bound_eur == pytest.approx(whole.bound_eur, rel=1e-9)
    assert len(found.notes) == 2 - survivors
    assert "worker a was lost" in found.notes[0]
    assert ("taken through all calls again by b" if survivors else "by the coordinator") in found.notes[-1]


def test_a_holder_that_lost_its_state_says_so() -> None:
    p, _, tariffs = neighbourhood(2, 1)
    holder, hold = Holder(), ("hold", (Share.of(p, tariffs, 0.0, 1), False))
    holder.take(0, [hold])
    with pytest.raises(OSError, match="call 0 came to an actor that has seen 1"):
        holder.take(0, [hold])


def test_without_any_worker_the_coordinator_computes() -> None:
    found = plan(*neighbourhood(5, 1), carrier=cluster.carrier(Local()))
    assert found.gap <= 1e-3
    assert found.notes == ()


def test_an_error_of_the_homes_themselves_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Holder, target: float) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Holder, "correct", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        plan(*neighbourhood(5, 1), carrier=cluster.carrier(Local()))


@pytest.fixture
def workers() -> Iterator[Any]:
    with cluster.local(2) as client:
        yield client


@pytest.mark.slow
@pytest.mark.foreign
def test_killing_a_dask_worker_in_the_middle_still_gives_the_certified_plan(workers: Any) -> None:
    case = neighbourhood(200, 1)
    whole = plan(*case, carrier=cluster.carrier(workers))
    victim = next(iter(workers.run(os.getpid).values()))
    with ThreadPoolExecutor(1) as pool:
        began = pool.submit(plan, *case, carrier=cluster.carrier(workers))
        time.sleep(0.8)
        assert not began.done(), "the solve must be under way when its worker dies"
        os.kill(victim, signal.SIGKILL)
        found = began.result(timeout=100)
    assert found.status is Status.OPTIMAL
    assert found.gap <= 1e-3
    assert any("was lost at call" in note for note in found.notes)
    assert found.cost_eur == pytest.approx(whole.cost_eur, rel=1e-6)
    optimum = plan(*case, carrier=interior.in_process)
    assert found.bound_eur <= optimum.cost_eur
