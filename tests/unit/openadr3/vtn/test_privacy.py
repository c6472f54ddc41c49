"""PRIV, V301, RG: what others do not see, and how one version shows what was written in the other."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from support import openadr3 as kit
from support.openadr3_server import NEW, OLD, PERIOD, Running, vtn
from support.programmes import NOW

from adapters.ports import Edit
from datamodels import EventSignal, Programme, ProgrammeEvent, SignalInterval
from datamodels.programme import ProgrammeTarget

VERSIONS = (OLD, NEW)


async def test_the_public_cases_over_rest(running: Running) -> None:
    """PRIV01, PRIV02."""
    program = await running.program()
    for case in kit.vector("privacy.json")["cases"]:
        if case["role"] == "VEN" and case["venTargets"] is not None:
            ven = await running.ven("me", *case["venTargets"])
            data = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "r", "venID": ven}
            await running.as_("grid").post("/resources", data | {"targets": case["resourceTargets"]})
        event = await running.event(program, targets=case["objectTargets"])
        client = running.as_("grid" if case["role"] == "BL" else "me")
        query = "?" + "&".join(f"targets={t}" for t in case["queryTargets"])
        one, listed = await client.get(f"/events/{event}{query}"), (await client.get(f"/events{query}")).data
        found = [e for e in listed if e["id"] == event]
        if case["visible"]:
            assert one.status == 200
            assert one.data["targets"] == found[0]["targets"] == case["targetsShown"], case["id"]
        else:
            assert (one.status, found) == (404, []), case["id"]
            unknown = await client.get(f"/events/unknown{query}")
            assert (unknown.status, unknown.data) == (one.status, one.data)  # PRIV08
        await running.as_("grid").delete(f"/events/{event}")
        for ven in (await running.as_("grid").get("/vens")).data:
            await running.as_("grid").delete(f"/vens/{ven['id']}")


async def test_objects_of_others_do_not_exist(running: Running) -> None:
    """PRIV03 (OW01..OW10), PRIV09."""
    grid, me, other = (running.as_(who) for who in ("grid", "me", "other"))
    mine = await me.post("/vens", {"objectType": "VEN_VEN_REQUEST", "venName": "v", "targets": ["self-granted"]})
    assert (mine.data["targets"], mine.data["clientID"]) == ([], "me")
    await grid.put(
        f"/vens/{mine.id}", {"objectType": "BL_VEN_REQUEST", "clientID": "me", "venName": "v", "targets": ["t"]}
    )
    data = {"objectType": "VEN_VEN_REQUEST", "venName": "v2", "clientID": "other", "targets": ["more"]}
    changed = await me.put(f"/vens/{mine.id}", data)
    assert (changed.data["venName"], changed.data["targets"], changed.data["clientID"]) == ("v2", ["t"], "me")
    event = await running.event(await running.program())
    report = {"eventID": event, "clientName": "c", "clientID": "other", "resources": []}
    asked = [{"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://example.org/x"}]
    made = {
        "vens": (mine, {"objectType": "VEN_VEN_REQUEST", "venName": "w"}),
        "reports": (await me.post("/reports", report), report),
        "subscriptions": (
            s := await me.post("/subscriptions", {"clientName": "c", "objectOperations": asked}),
            {"clientName": "c", "objectOperations": asked},
        ),
        "resources": (
            await me.post("/resources", {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": mine.id}),
            {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": mine.id},
        ),
    }
    assert s.status == 201
    for name, (reply, body) in made.items():
        path = f"/{name}/{reply.id}"
        assert reply.data["clientID"] == "me"
        assert [(await client.get(path)).status for client in (me, grid, other)] == [200, 200, 404], name
        assert reply.id not in [each["id"] for each in (await other.get(f"/{name}")).data]
        assert (await other.put(path, body)).status == 404
        assert (await other.delete(path)).status == 404
    old = running.as_("other", OLD)
    assert (await old.get(f"/reports/{made['reports'][0].id}")).status == 404
    assert (await old.get("/reports")).data == []
    bl = {"objectType": "BL_VEN_REQUEST", "clientID": "me", "venName": "x"}
    assert (await me.post("/vens", bl)).status == 403
    assert (await grid.post("/vens", {"objectType": "VEN_VEN_REQUEST", "venName": "x"})).status == 403
    foreign = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": mine.id}
    assert (await other.post("/resources", foreign)).status == 404


async def test_hidden_targets_leave_no_trace(running: Running) -> None:
    """PRIV04: not at either base, and not in what the event asks for either."""
    await running.ven("me", "a")
    asked = [{"payloadType": "USAGE", "targets": ["a", "secret"]}]
    program = await running.program()
    event = await running.event(program, targets=["a", "secret"], reportDescriptors=asked)
    for version in VERSIONS:
        seen = await running.as_("me", version).get(f"/events/{event}")
        assert "secret" not in str(seen.data)
        await running.as_("grid").put(
            f"/events/{event}",
            {"programID": program, "intervals": [], "targets": ["a", "other secret"], "reportDescriptors": asked},
        )
        assert "secret" not in str((await running.as_("me", version).get("/events")).data)


async def test_the_strict_reading(tmp_path: Any) -> None:
    async with vtn(tmp_path, strict_privacy=True) as running:
        await running.ven("me", "a")
        event = await running.event(await running.program(), targets=["a"])
        me = running.as_("me")
        assert (await me.get("/events")).data == []
        assert [e["id"] for e in (await me.get("/events?targets=a")).data] == [event]
        assert (await me.get(f"/events/{event}?targets=a")).status == 200


async def test_what_3_0_1_says_reads_in_3_1_and_back(running: Running) -> None:
    """V301A, V301C, V301D, PRIV10."""
    old, new = running.as_("grid", OLD), running.as_("grid")
    flat = {
        "programName": "p",
        "programLongName": "long",
        "retailerName": "r",
        "retailerLongName": "rl",
        "programType": "t",
        "country": "NL",
        "principalSubdivision": "GE",
        "timeZoneOffset": "-PT1H",
        "bindingEvents": False,
        "localPrice": True,
        "payloadDescriptors": [{"payloadType": "PRICE"}],
    }
    made = await old.post("/programs", flat)
    assert made.status == 201, made.data
    shown = (await new.get(f"/programs/{made.id}")).data
    attributes = {a["type"]: a["values"] for a in shown["attributes"]}
    assert attributes["RETAILER_NAME"] == ["r"]
    assert attributes["BINDING_EVENTS"] == [False]
    assert "retailerName" not in shown
    assert shown["payloadDescriptors"][0]["objectType"] == "EVENT_PAYLOAD_DESCRIPTOR"
    again = await new.put(f"/programs/{made.id}", {k: shown[k] for k in ("programName", "attributes")})
    back = (await old.get(f"/programs/{made.id}")).data
    assert again.status == 200
    assert {k: back[k] for k in flat if k != "payloadDescriptors"} == {
        k: v for k, v in flat.items() if k != "payloadDescriptors"
    }
    await running.ven("me", name="v")
    targets = [{"type": "VEN_NAME", "values": ["v"]}, {"type": "PRIVATE", "values": ["x", "y"]}]
    event = await running.event(made.id, OLD, targets=targets)
    assert (await old.get(f"/events/{event}")).data["targets"] == targets
    assert (await new.get(f"/events/{event}")).data["targets"] == ["v", "x", "y"]
    assert (await running.as_("me").get(f"/events/{event}")).data["targets"] == ["v"]
    assert (await running.as_("other").get(f"/events/{event}")).status == 404
    await new.put(f"/events/{event}", {"programID": made.id, "targets": ["v", "x", "y"]})
    assert (await old.get(f"/events/{event}")).data["targets"] == targets  # labels are remembered


async def test_what_3_1_says_reads_in_3_0_1(running: Running) -> None:
    """V301B, V301E, V301F."""
    program = await running.program()
    reply = await running.as_("grid").post("/events", {"programID": program, "intervalPeriod": {"duration": "PT1H"}})
    old = running.as_("me", OLD)
    shown = (await old.get(f"/events/{reply.id}")).data
    assert shown["intervals"] == []
    assert shown["intervalPeriod"] == {"start": "0001-01-01T00:00:00Z", "duration": "PT1H"}
    report = {"eventID": reply.id, "clientName": "c", "resources": []}
    made = await running.as_("me").post("/reports", report)
    assert (await old.get(f"/reports/{made.id}")).data["programID"] == program
    for words in (["GET", "POST", "PUT", "DELETE"], ["READ", "CREATE", "UPDATE", "DELETE"]):
        asked = [{"objects": ["EVENT"], "operations": words, "callbackUrl": "https://example.org/x"}]
        held = await old.post("/subscriptions", {"clientName": "c", "programID": program, "objectOperations": asked})
        assert held.data["objectOperations"][0]["operations"] == words
        seen = (await running.as_("me").get(f"/subscriptions/{held.id}")).data
        assert seen["objectOperations"][0]["operations"] == ["READ", "CREATE", "UPDATE", "DELETE"]


async def test_groups_of_resources(running: Running) -> None:
    """RG01..RG05."""
    grid, me = running.as_("grid"), running.as_("me")
    mine, theirs = await running.ven("me"), await running.ven("other")
    ids = []
    for ven in (mine, theirs):
        data = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "r", "venID": ven}
        ids.append((await grid.post("/resources", data)).id)
    children = [{"type": "ven_resource", "id": id} for id in ids]
    inner = await grid.post("/resource_groups", {"resourceGroupName": "in", "targets": ["g"], "children": children})
    assert inner.data["objectType"] == "RESOURCE_GROUP"
    assert (await grid.post("/resource_groups", {"resourceGroupName": "in"})).status == 409
    up = [{"type": "resource_group", "id": inner.id}]
    outer = await grid.post("/resource_groups", {"resourceGroupName": "out", "children": up})
    assert [g["id"] for g in (await me.get("/resource_groups")).data] == [inner.id, outer.id]
    assert (await me.get(f"/resource_groups/{inner.id}")).data["children"] == children[:1]
    cycle = {"resourceGroupName": "in", "children": [{"type": "resource_group", "id": outer.id}]}
    assert (await grid.put(f"/resource_groups/{inner.id}", cycle)).status == 400
    unknown = {"resourceGroupName": "x", "children": [{"type": "ven_resource", "id": "none"}]}
    assert (await grid.post("/resource_groups", unknown)).status == 400
    event = await running.event(await running.program(), targets=["g"])
    assert (await me.get(f"/events/{event}")).status == 200
    assert (await running.as_("grid", OLD).get("/resource_groups")).status == 404


async def test_an_event_of_another_standard_is_put_into_words(running: Running) -> None:
    """XP01 from the model's side: priority, start tolerance and several signals of one event."""
    hour, quarter = timedelta(hours=1), timedelta(minutes=15)
    limit = EventSignal("IMPORT_CAPACITY_LIMIT", (SignalInterval(NOW, hour, Decimal("2.5")),), "KW")
    price = EventSignal("PRICE", (SignalInterval(NOW, timedelta(0), Decimal("0.1")),), "KWH", "EUR")
    event = ProgrammeEvent(
        id="e",
        programme="p",
        signals=(limit, price),
        priority=1,
        tolerance=quarter,
        targets=(ProgrammeTarget("v", "VEN_NAME"),),
    )
    gone = ProgrammeEvent(id="gone", programme="p", cancelled=True)
    await running.programmes.write([Edit(None, e, "test") for e in (Programme(id="p", name="p"), event, gone)])
    shown = (await running.as_("grid").get("/events/e")).data
    assert shown["priority"] == 0
    assert shown["intervalPeriod"]["randomizeStart"] == "PT7M30S"
    said = [(i["intervalPeriod"], i["payloads"]) for i in shown["intervals"]]
    assert said == [
        ({"start": "2026-11-24T12:07:30Z", "duration": "P9999Y"}, [{"type": "PRICE", "values": [Decimal("0.1")]}]),
        (
            {"start": "2026-11-24T12:07:30Z", "duration": "PT1H"},
            [{"type": "IMPORT_CAPACITY_LIMIT", "values": [Decimal("2.5")]}],
        ),
    ]
    assert (await running.as_("grid", OLD).get("/events/e")).data["targets"] == [{"type": "VEN_NAME", "values": ["v"]}]
    assert (await running.as_("grid").get("/events/gone")).status == 404


async def test_an_event_of_ours_is_laid_out_for_other_standards(running: Running) -> None:
    """XP01, XP02 towards the model: what a 2.0b VEN will be told."""
    period = PERIOD | {"randomizeStart": "PT5M"}
    payloads = [{"type": "DISPATCH_SETPOINT", "values": [1, 2]}, {"type": "ALERT_OTHER", "values": ["x"]}]
    described = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KW"}]
    program = await running.program(payloadDescriptors=described)
    event = await running.event(program, intervalPeriod=period, priority=0, intervals=[{"id": 0, "payloads": payloads}])
    held = running.programmes.get(ProgrammeEvent, event)
    assert held is not None
    start, half = NOW + timedelta(hours=11, minutes=55), timedelta(minutes=30)
    assert held.signals == (
        EventSignal(
            "DISPATCH_SETPOINT",
            (SignalInterval(start, half, Decimal(1)), SignalInterval(start + half, half, Decimal(2))),
            "KW",
        ),
    )
    assert (held.priority, held.tolerance, held.revision) == (1, timedelta(minutes=10), 0)
    await running.as_("grid").put(f"/events/{event}", {"programID": program, "intervals": []})
    held = running.programmes.get(ProgrammeEvent, event)
    assert held is not None
    assert (held.signals, held.priority, held.revision) == ((), 0, 1)
