"""FILT, PAGE: filters and pages of lists (conformance cases of these names)."""

from __future__ import annotations

from typing import Any

import pytest
from support.openadr3_server import NEW, OLD, Client, Running

VERSIONS = (OLD, NEW)


async def ids(client: Client, path: str) -> list[str]:
    reply = await client.get(path)
    assert reply.status == 200, reply.data
    return [item["id"] for item in reply.data]


async def test_each_filter_and_all_of_them_together(running: Running) -> None:
    grid, me = running.as_("grid"), running.as_("me")
    one, two = await running.program("one"), await running.program("two")
    a = await running.event(one, targets=["x"])
    b = await running.event(two, targets=["x", "y"])
    assert await ids(grid, f"/events?programID={one}") == [a]
    assert await ids(grid, "/events?targets=x&targets=z") == [a, b]
    assert await ids(grid, f"/events?programID={one}&targets=y") == []
    assert await ids(grid, "/events?targets=z&unknown=1&dateStart=x") == []
    ven, other = await running.ven("me", "x", name="v"), await running.ven("other", name="w")
    assert await ids(grid, "/vens?venName=w") == [other]
    assert await ids(grid, "/vens?targets=x") == [ven]
    made = []
    for owner, name in ((ven, "r"), (other, "r"), (other, "s")):
        data = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": name, "venID": owner}
        made.append((await grid.post("/resources", data)).id)
    assert await ids(grid, "/resources?resourceName=r") == made[:2]
    assert await ids(grid, f"/resources?resourceName=r&venID={other}") == made[1:2]
    reports = []
    for event, client in ((a, "c"), (b, "c"), (b, "d")):
        data = {"eventID": event, "clientName": client, "resources": []}
        reports.append((await me.post("/reports", data)).id)
    assert await ids(me, f"/reports?programID={two}") == reports[1:]
    assert await ids(me, f"/reports?eventID={b}&clientName=c") == reports[1:2]
    held = []
    for objects, program in ((["EVENT"], one), (["PROGRAM", "REPORT"], two)):
        asked = [{"objects": objects, "operations": ["CREATE"], "callbackUrl": "https://example.org/x"}]
        data = {"clientName": "c", "programID": program, "objectOperations": asked}
        held.append((await me.post("/subscriptions", data)).id)
    assert await ids(me, "/subscriptions?objects=REPORT&objects=VEN") == held[1:]
    assert await ids(me, f"/subscriptions?programID={one}&clientName=c") == held[:1]
    group = {"resourceGroupName": "g", "targets": ["t"], "children": [{"type": "ven_resource", "id": made[0]}]}
    group_id = (await grid.post("/resource_groups", group)).id
    assert await ids(me, "/resource_groups?resourceGroupName=g&targets=t") == [group_id]
    assert await ids(me, "/resource_groups?resourceGroupName=h") == []


async def test_targets_are_asked_for_with_their_label_in_3_0_1(running: Running) -> None:
    grid, program = running.as_("grid", OLD), await running.program()
    group = await running.event(program, OLD, targets=[{"type": "GROUP", "values": ["a", "b"]}])
    named = await running.event(program, OLD, targets=[{"type": "VEN_NAME", "values": ["a"]}])
    plain = await running.event(program, targets=["a"])
    assert await ids(grid, "/events?targetType=GROUP&targetValues=a&targetValues=z") == [group, plain]
    assert await ids(grid, "/events?targetType=VEN_NAME&targetValues=a") == [named]
    assert await ids(grid, "/events?targetType=PRIVATE&targetValues=a") == []
    assert await ids(running.as_("grid"), "/events?targets=a") == [group, named, plain]


async def test_events_that_are_over(running: Running) -> None:
    grid, program = running.as_("grid"), await running.program()
    value: dict[str, Any] = {"id": 0, "payloads": [{"type": "ALERT_OTHER", "values": ["careful"]}]}

    async def event(start: str, length: str, **more: Any) -> str:
        period = {"start": start, "duration": length}
        return await running.event(program, intervalPeriod=period, intervals=[value], **more)

    over = await event("2026-11-24T10:00:00Z", "PT1H")
    cut = await event("2026-11-24T10:00:00Z", "P9D", duration="PT1H")
    cancelled = await event("0001-01-01", "PT0S")
    now = await event("2026-11-24T11:30:00Z", "PT1H")
    endless = await event("2026-01-01T00:00:00Z", "P9999Y")
    loops = await event("2026-01-01T00:00:00Z", "PT1H", duration="P9999Y")
    asks = await running.event(program)
    assert await ids(grid, "/events?active=true") == [now, endless, loops, asks]
    assert await ids(grid, "/events?active=false") == [over, cut, cancelled, now, endless, loops, asks]


@pytest.mark.parametrize("version", VERSIONS)
async def test_pages(running: Running, version: str) -> None:
    grid, me = running.as_("grid", version), running.as_("me", version)
    program = await running.program()
    for n in range(67):
        await running.event(program, targets=[] if n % 3 else ["hidden"])
    everything = await ids(grid, "/events?limit=50") + await ids(grid, "/events?skip=50")
    assert len(set(everything)) == 67
    pages = [await ids(me, f"/events?skip={skip}&limit=10") for skip in range(0, 50, 10)]
    assert [len(page) for page in pages] == [10, 10, 10, 10, 4]  # PAGE04: filtered before it is cut
    assert [id for page in pages for id in page] == await ids(me, "/events")
    for limit, count in ((0, 0), (1, 1), (50, 50)):
        assert len(await ids(grid, f"/events?limit={limit}")) == count
    assert len(await ids(grid, "/events")) == 50
    assert await ids(grid, "/events?skip=1000") == []
    for query in ("limit=51", "limit=-1", "limit=x", "limit=", "limit=1.5", "skip=-1", "skip=2147483648", "skip=1e2"):
        assert (await grid.get(f"/events?{query}")).status == 400, query


async def test_values_that_break_their_schema(running: Running) -> None:
    grid = running.as_("grid")
    for query in (
        "/vens?venName=",
        "/resources?venID=0.5",
        "/events?active=maybe",
        "/events?targets=",
        "/events?programID=",
    ):
        assert (await grid.get(query)).status == 400, query
    assert (await grid.get("/subscriptions?objects=THING")).status == 400
