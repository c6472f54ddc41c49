"""The sequencer: one decision at a time, grouped commits, and an end that leaves nobody waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from interop.desk import NoHistory
from interop.dispatcher import Plan
from interop.effects import Instruct, Log
from interop.sequencer import Sequencer
from interop.step import Carrier, Step
from interop.store import Batch, Committed, StoreError, StoreUnavailable


class Bench:
    """A sequencer whose commits are kept, and can be held up or made to fail."""

    def __init__(self, kit: Any) -> None:
        self.kit = kit
        self.batches: list[Batch] = []
        self.out: list[Step] = []
        self.taken_up = 0
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.sequencer = Sequencer(self.begin, self.commit, lambda step, _: self.out.append(step), self.take_up)

    def begin(self, changed: dict[str, Any]) -> Step:
        return Step(Carrier({}, {}, NoHistory(), 0.0, lambda at: at), Plan(changed), self.kit.NOW)

    async def commit(self, batch: Batch, on_trouble: Callable[[StoreError], None]) -> Committed:
        self.batches.append(batch)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Committed()

    async def take_up(self) -> None:
        self.taken_up += 1

    def log(self, n: int) -> Any:
        return self.sequencer.run(lambda step: step.add([Log(f"e{n}")]))


@pytest.fixture
async def bench(kit: Any) -> AsyncIterator[Bench]:
    bench = Bench(kit)
    bench.sequencer.start()
    yield bench
    await bench.sequencer.stop()


def _events(batch: Batch) -> list[str]:
    return [event.kind for event in batch.events]


async def test_what_waits_while_a_commit_runs_is_committed_together_in_order(bench: Bench) -> None:
    bench.gate = asyncio.Event()
    first = asyncio.create_task(bench.log(0))
    await asyncio.sleep(0.01)
    rest = [asyncio.create_task(bench.log(n)) for n in range(1, 6)]
    await asyncio.sleep(0.01)
    assert bench.out == []
    bench.gate.set()
    await asyncio.gather(first, *rest)
    assert [_events(batch) for batch in bench.batches] == [["e0"], ["e1", "e2", "e3", "e4", "e5"]]
    assert len(bench.out) == 6


async def test_a_decision_that_fails_concerns_its_caller_only(bench: Bench) -> None:
    def broken(step: Step) -> None:
        step.add([Log("half done")])
        raise KeyError("no")

    good, bad = bench.log(1), bench.sequencer.run(broken)
    results = await asyncio.gather(good, bad, bench.log(2), return_exceptions=True)
    assert [type(r) for r in results] == [type(None), KeyError, type(None)]
    assert [kind for batch in bench.batches for kind in _events(batch)] == ["e1", "e2"]
    assert bench.taken_up == 0


async def test_a_spoiling_decision_ends_its_group_and_state_is_taken_up_before_the_next(bench: Bench) -> None:
    order: list[str] = []

    def spoil(step: Step) -> None:
        step.add([Log("spoilt")])
        bench.sequencer.spoiled = True

    def after(step: Step) -> None:
        order.append(f"decided after {bench.taken_up} take-ups")
        step.add([Log("after")])

    await asyncio.gather(bench.log(1), bench.sequencer.run(spoil), bench.sequencer.run(after))
    assert [_events(batch) for batch in bench.batches] == [["e1", "spoilt"], ["after"]]
    assert order == ["decided after 1 take-ups"]


async def test_a_later_decision_of_a_group_sees_the_dispatches_of_an_earlier_one(bench: Bench, kit: Any) -> None:
    effects = [Instruct(kit.dispatch(revision=1))]
    await asyncio.gather(*(bench.sequencer.run(lambda step: step.add(effects)) for _ in range(3)))
    assert [_events(batch) for batch in bench.batches] == [["dispatch.instructed"]]


async def test_a_decision_without_consequences_writes_nothing(bench: Bench) -> None:
    await bench.sequencer.run(lambda step: None)
    assert bench.batches == []


async def test_a_caller_that_left_before_the_decision_gets_none(bench: Bench) -> None:
    task = asyncio.create_task(bench.log(1))
    await asyncio.sleep(0)
    task.cancel()
    await bench.log(2)
    assert [_events(batch) for batch in bench.batches] == [["e2"]]


async def test_when_committing_has_failed_for_good_nobody_waits_for_ever(bench: Bench) -> None:
    bench.gate, bench.error = asyncio.Event(), StoreUnavailable("disk gone")
    waiting = [asyncio.create_task(bench.log(n)) for n in range(3)]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(bench.log(9))
    await asyncio.sleep(0.01)
    bench.gate.set()
    results = await asyncio.gather(*waiting, late, return_exceptions=True)
    assert [str(r) for r in results] == ["disk gone"] * 3 + ["the server is stopping"]
    assert not bench.sequencer.running
    with pytest.raises(StoreUnavailable):
        await bench.log(10)


async def test_what_waits_when_it_is_stopped_is_still_decided(bench: Bench) -> None:
    task = asyncio.create_task(bench.log(1))
    await asyncio.sleep(0)
    await bench.sequencer.stop()
    await task
    assert [_events(batch) for batch in bench.batches] == [["e1"]]


async def test_who_is_not_patient_hears_of_the_first_failure_while_writing_is_tried_on(kit: Any) -> None:
    bench = Bench(kit)
    gate = asyncio.Event()

    async def commit(batch: Batch, on_trouble: Callable[[StoreError], None]) -> Committed:
        on_trouble(StoreUnavailable("disk full"))
        await gate.wait()
        return Committed()

    sequencer = Sequencer(bench.begin, commit, lambda step, _: bench.out.append(step), bench.take_up)
    sequencer.start()
    patient = asyncio.create_task(sequencer.run(lambda step: step.add([Log("a")])))
    with pytest.raises(StoreUnavailable, match="disk full"):
        await sequencer.run(lambda step: step.add([Log("b")]), patient=False)
    assert not patient.done()
    assert bench.out == []
    gate.set()
    await patient
    assert len(bench.out) == 2
    await sequencer.stop()
