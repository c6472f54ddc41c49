"""Dispatches: one instruction per revision, in order per resource, and an honest end where none can be carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.errors import Rejection
from datamodels import Binding, DispatchStatus, DispatchUpdate, Problem
from interop.effects import Instruct, Withdraw

Begin = Callable[..., Awaitable[Any]]


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come true within three seconds")


async def _instructed(world: Any) -> list[tuple[str, int]]:
    events = await world.store.events(kinds=("dispatch.instructed",))
    return [(e.data["dispatch"], e.data["revision"]) for e in events]


async def test_each_revision_is_instructed_once(begin: Begin, kit: Any) -> None:
    world = await begin()
    for revision in (0, 0, 1, 0, 1):
        await world.hub.do([Instruct(kit.dispatch(revision=revision))])
    await world.quiet()
    assert await _instructed(world) == [("d1", 0), ("d1", 1)]
    assert world.actuator.applied == [("d1", 0), ("d1", 1)]


async def test_revisions_within_one_step_are_each_instructed_and_the_last_one_stands(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.do([Instruct(kit.dispatch(revision=n)) for n in range(3)] + [Withdraw("d1"), Withdraw("d1")])
    await _until(lambda: world.actuator.withdrawn == ["d1"])
    assert await _instructed(world) == [("d1", 0), ("d1", 1), ("d1", 2)]
    assert world.hub.dispatcher.records["d1"].dispatch.revision == 2


async def test_a_dispatch_that_is_over_is_not_withdrawn_and_not_resumed(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.actuator.hub = None
    await world.hub.do([Instruct(kit.dispatch())])
    await world.quiet()
    await world.hub.dispatch_update(DispatchUpdate("d1", 0, DispatchStatus.SUCCEEDED, kit.NOW))
    await world.hub.do([Withdraw("d1"), Withdraw("unknown")])
    await world.end()
    again = await begin()
    assert again.hub.dispatcher.records["d1"].status is DispatchStatus.SUCCEEDED
    await asyncio.sleep(0.02)
    assert again.actuator.applied == []
    assert again.actuator.withdrawn == []


async def test_after_a_restart_a_withdrawn_dispatch_is_withdrawn_again_and_a_past_one_left_alone(
    begin: Begin, kit: Any
) -> None:
    world = await begin(run=False)
    past = kit.dispatch("past")
    past = replace(
        past, intervals=(replace(past.intervals[0], start=kit.NOW - timedelta(hours=2), duration=timedelta(hours=1)),)
    )
    await world.hub.do(
        [Instruct(kit.dispatch("kept")), Instruct(kit.dispatch("gone")), Instruct(past), Withdraw("gone")]
    )
    await world.end()
    again = await begin()
    await _until(lambda: again.actuator.withdrawn == ["gone"])
    assert again.actuator.applied == [("kept", 0)]


@pytest.mark.parametrize(
    ("resource", "binding", "reason"),
    [
        ("nowhere", None, "not configured"),
        ("bat1", None, "no binding"),
        ("bat1", Binding("mqtt", "x"), "'mqtt' is not running"),
    ],
)
async def test_what_nobody_can_carry_is_rejected_alarmed_and_told(
    begin: Begin, kit: Any, resource: str, binding: Binding | None, reason: str
) -> None:
    world = await begin()
    world.resources["bat1"] = replace(kit.RESOURCE, binding=binding)
    await world.hub.do([Instruct(kit.dispatch(resource=resource))])
    await _until(lambda: world.hub.dispatcher.records["d1"].status is DispatchStatus.REJECTED)
    assert reason in world.hub.dispatcher.records["d1"].reason
    assert world.desk.events == [("update", ("d1", DispatchStatus.REJECTED))]
    assert [e.data["rule"] for e in await world.store.events(kinds=("alarm",))] == ["dispatch.failed"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejection([Problem("pv.limit", "wmax", "out of range")]), DispatchStatus.REJECTED),
        (ConnectionError("down"), DispatchStatus.ABORTED),
    ],
)
async def test_an_actuator_that_refuses_or_breaks_ends_the_dispatch_but_not_the_worker(
    begin: Begin, kit: Any, error: Exception, status: DispatchStatus
) -> None:
    world = await begin()
    world.actuator.refuse = error
    await world.hub.do([Instruct(kit.dispatch())])
    await _until(lambda: world.hub.dispatcher.records["d1"].status is status)
    world.actuator.refuse = None
    await world.hub.do([Instruct(kit.dispatch(revision=1))])
    await _until(lambda: world.hub.dispatcher.records["d1"].carried)
    assert world.hub.dispatcher.records["d1"].status is DispatchStatus.ACCEPTED


async def test_dispatches_that_ended_a_month_ago_are_forgotten(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    old = kit.dispatch("old")
    start = kit.NOW - timedelta(days=40)
    old = replace(old, intervals=(replace(old.intervals[0], start=start, duration=timedelta(hours=1)),))
    await world.hub.do([Instruct(old), Instruct(kit.dispatch("new"))])
    await world.end()
    again = await begin(run=False)
    assert list(again.hub.dispatcher.records) == ["new"]
    assert {d.key for d in await again.store.documents("hub")} == {"new"}
