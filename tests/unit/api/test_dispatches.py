"""Direct dispatch over HTTP: one resource is told, revised, withdrawn; whatever is wrong is named."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from datamodels import Dispatch, DispatchInterval, DispatchKind, DispatchStatus, DispatchUpdate
from interop.effects import Instruct

TELL = {"resource": "battery-1", "kind": "SETPOINT", "value": 3000, "minutes": 30, "id": "d1"}


async def done(server: Any, *wanted: str) -> None:
    """Wait until the wire has done just that."""
    for _ in range(500):
        if server.adapters["wire"].done == list(wanted):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(server.adapters["wire"].done)


async def test_a_resource_is_told_revised_followed_and_released(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    status, row = await ask(server, "POST", "dispatches", json=TELL)
    assert (status, row["id"], row["status"], row["value"], row["source"]) == (201, "d1", "NEW", 3000, "operator")
    assert row["priority"] == 1
    await done(server, "apply d1 0")
    status, row = await ask(server, "POST", "dispatches", json=TELL | {"value": -2000})
    assert (status, row["revision"], row["value"]) == (201, 1, -2000)
    await server.hub.dispatch_update(DispatchUpdate("d1", 1, DispatchStatus.STARTED, kit.now))
    (row,) = (await ask(server, "GET", "dispatches"))[1]
    assert row["status"] == "STARTED"
    assert (await ask(server, "DELETE", "dispatches/d1"))[1]["withdrawn"] is True
    await done(server, "apply d1 0", "apply d1 1", "withdraw d1")
    assert (await ask(server, "DELETE", "dispatches/d1"))[0] == 409
    status, row = await ask(server, "POST", "dispatches", json=TELL)
    assert (status, row["revision"], row["withdrawn"]) == (201, 2, False)


async def test_the_same_words_are_one_dispatch(serve: Any, ask: Any) -> None:
    server = await serve()
    words = {k: v for k, v in TELL.items() if k != "id"} | {"start": "2026-05-20T11:00:00Z"}
    (first, one), (second, other) = [await ask(server, "POST", "dispatches", json=words) for _ in range(2)]
    assert (first, second) == (201, 200)
    assert one["id"] == other["id"]
    await done(server, f"apply {one['id']} 0")


async def test_intervals_make_one_dispatch(serve: Any, ask: Any) -> None:
    server = await serve()
    intervals = [
        {"start": "2026-05-20T10:00:00Z", "minutes": 15, "value": 1000},
        {"start": "2026-05-20T10:15:00Z", "minutes": 15, "value": 2000},
    ]
    body = {"resource": "battery-1", "kind": "SETPOINT", "intervals": intervals}
    status, row = await ask(server, "POST", "dispatches", json=body)
    assert (status, row["start"][11:16], row["end"][11:16], row["value"]) == (201, "10:00", "10:30", 1000)


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"resource": "battery-2"}, ["no resource is called 'battery-2'", "did you mean 'battery-1'?"]),
    ({"resource": "loose-1"}, ["has no binding"]),
    ({"resource": "meter-1"}, ["bound to meter, which steers nothing"]),
    ({"kind": "SETPOINTS"}, ["did you mean 'SETPOINT'?"]),
    ({"value": 6000}, ["-5000 to 5000"]),
    ({"kind": "EXPORT_LIMIT", "value": -1}, ["0 or more W"]),
    ({"kind": "SOC_TARGET", "value": 20_000}, ["0 to 10000"]),
    ({"kind": "LEVEL", "value": 4}, ["0 to 3"]),
    ({"value": None, "minutes": None}, ["dispatch.value", "dispatch.minutes"]),
    ({"minutes": 0, "resource": "x", "id": "?", "priority": -1}, ["minutes", "no resource", "letters", "counts from"]),
    ({"start": "2026-05-20T08:00:00Z"}, ["is over already: market time is 2026-05-20T10:00:00Z"]),
    ({"intervals": [{"start": "2026-05-20T10:00:00Z", "minutes": 15, "value": 1}]}, ["use one or the other"]),
    ({"volume": 11}, ["unknown key"]),
]


@pytest.mark.parametrize(("wrong", "details"), BAD)
async def test_everything_wrong_is_named_and_nothing_is_told(
    serve: Any, ask: Any, wrong: dict[str, Any], details: list[str]
) -> None:
    server = await serve()
    status, problem = await ask(server, "POST", "dispatches", json=TELL | wrong)
    assert status == 422, problem
    for detail in details:
        assert detail in problem["detail"]
    assert await ask(server, "GET", "dispatches") == (200, [])


async def test_what_is_missing_and_what_overlaps_within(serve: Any, ask: Any) -> None:
    server = await serve()
    status, problem = await ask(server, "POST", "dispatches", json={"resource": "battery-1", "kind": "SETPOINT"})
    assert (status, "add value and minutes, or intervals" in problem["detail"]) == (422, True)
    interval = {"start": "2026-05-20T11:00:00Z", "minutes": 15, "value": 1000}
    body = {"resource": "battery-1", "kind": "SETPOINT", "intervals": [interval, interval]}
    status, problem = await ask(server, "POST", "dispatches", json=body)
    assert (status, "intervals overlap" in problem["detail"]) == (422, True)


async def test_two_dispatches_of_a_kind_may_not_overlap_unless_the_first_is_over(serve: Any, ask: Any) -> None:
    server = await serve()
    await ask(server, "POST", "dispatches", json=TELL)
    status, problem = await ask(server, "POST", "dispatches", json=TELL | {"id": "d2"})
    assert (status, "overlaps with d1" in problem["detail"]) == (422, True)
    later = TELL | {"id": "d3", "start": "2026-05-20T10:30:00Z"}
    limit = TELL | {"id": "d4", "kind": "IMPORT_LIMIT"}
    assert [(await ask(server, "POST", "dispatches", json=b))[0] for b in (later, limit)] == [201, 201]
    await ask(server, "DELETE", "dispatches/d1")
    assert (await ask(server, "POST", "dispatches", json=TELL | {"id": "d2"}))[0] == 201


async def test_what_the_desk_told_a_resource_is_the_desks(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    interval = DispatchInterval(kit.now, timedelta(minutes=15), 1)
    dispatch = Dispatch("o1:battery-1", "battery-1", DispatchKind.SETPOINT, (interval,), "o1")
    await server.hub.do([Instruct(dispatch)])
    assert (await ask(server, "DELETE", "dispatches/o1:battery-1"))[0] == 409
    assert (await ask(server, "POST", "dispatches", json=TELL | {"id": "o1:battery-1"}))[0] == 409
    assert (await ask(server, "POST", "dispatches", json=TELL))[0] == 201, "but an operator may speak beside it"
    assert (await ask(server, "DELETE", "dispatches/none"))[0] == 404
