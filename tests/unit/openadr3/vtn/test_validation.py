"""VAL, PROB: what is refused, how it is said, and that nothing of it is stored (conformance cases of these names)."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from support import openadr3 as kit
from support.openadr3_server import NEW, OLD, PERIOD, Running, bodies, vtn

VERSIONS = (OLD, NEW)
REQUIRED = {
    "programs": ("programName",),
    "events": ("programID",),
    "reports": ("eventID", "clientName", "resources"),
    "subscriptions": ("clientName", "objectOperations"),
    "vens": ("venName",),
    "resources": ("resourceName",),
    "resource_groups": ("resourceGroupName",),
}
ALSO = {
    (OLD, "events"): ("intervals",),
    (OLD, "reports"): ("programID",),
    (OLD, "subscriptions"): ("programID",),
    (NEW, "vens"): ("objectType",),
    (NEW, "resources"): ("objectType",),
}


def assert_problem(reply: Any, status: int) -> None:
    assert reply.status == status, reply.data
    assert reply.headers["Content-Type"] == "application/json"
    assert (reply.data["status"], bool(reply.data["title"]), bool(reply.data["detail"])) == (status, True, True)


@pytest.mark.parametrize("version", VERSIONS)
async def test_required_members_and_types(running: Running, version: str) -> None:
    for name, (client, path, data) in (await bodies(running, version)).items():
        before = len((await client.get(path)).data)
        for member in (*REQUIRED[name], *ALSO.get((version, name), ())):
            assert_problem(await client.post(path, {k: v for k, v in data.items() if k != member}), 400)
            reply = await client.post(path, data | {member: None})
            assert_problem(reply, 400)
            assert reply.data["errors"][0]["where"] == member
            assert_problem(await client.post(path, data | {member: 7}), 400)
        assert len((await client.get(path)).data) == before


@pytest.mark.parametrize("version", VERSIONS)
async def test_limits_of_texts_and_numbers(running: Running, version: str) -> None:
    grid, program = running.as_("grid", version), await running.program()
    for length, status in ((0, 400), (1, 201), (128, 201), (129, 400)):
        assert (await grid.post("/programs", {"programName": "x" * length})).status == status
    event: dict[str, Any] = {"programID": program, "intervals": []}
    for priority, status in ((-1, 400), (0, 201), (None, 201), ("1", 400), (2**70, 201)):
        assert (await grid.post("/events", event | {"priority": priority})).status == status, priority
    for interval, status in (({"id": 0, "payloads": []}, 201), ({"id": 0}, 400), ({"id": 2**31, "payloads": []}, 400)):
        assert (await grid.post("/events", event | {"intervals": [interval]})).status == status
    free = [{"type": "PRIVATE", "values": [1, "a", True, {"x": 1, "y": 2}]}, {"type": "CURVE", "values": []}]
    reply = await grid.post("/events", event | {"intervals": [{"id": 0, "payloads": free}]})
    assert reply.data["intervals"][0]["payloads"] == free  # VAL14, VAL15
    null = [{"type": "X", "values": [None]}]
    assert (await grid.post("/events", event | {"intervals": [{"id": 0, "payloads": null}]})).status == 400
    for name in ("\u0000", "\u202e\u2066", "\U0001f50c"):
        assert (await grid.post("/programs", {"programName": name})).status in (201, 400)


@pytest.mark.parametrize(("kind", "member"), [("duration", "duration"), ("dateTime", "start")])
async def test_every_row_of_the_lexical_vectors(running: Running, kind: str, member: str) -> None:
    grid, program = running.as_("grid"), await running.program()
    rows = kit.vector("lexical.json")[kind]
    assert len(rows) > 5
    for row in rows:
        data = {"programID": program, "intervalPeriod": PERIOD | {member: row["value"]}, "intervals": []}
        reply = await grid.post("/events", data)
        assert reply.status == (201 if row["product"].startswith("accept") and row["value"] != "-PT1H" else 400), row
        if reply.status == 201:
            assert reply.data["intervalPeriod"][member] == row["value"]


async def test_bodies_that_are_no_objects(running: Running) -> None:
    grid = running.as_("grid")
    kind = {"Content-Type": "application/json"}
    for body in (
        *(b"", b"{", b"[]", b"7", b"null", b'"x"', b"\xff\xfe", b'{"programName":"\\ud800"}'),
        *(b'{"programName":"a","programName":"b"}', b'{"programName":NaN}', b'{"programName":Infinity}'),
        b"[" * 10_000,
    ):
        began = time.perf_counter()
        assert_problem(await grid.ask("POST", "/programs", body=body, headers=kind), 400)
        assert time.perf_counter() - began < 1
    assert_problem(await grid.ask("POST", "/programs", body=b'{"programName":"a"}'), 415)
    large = io.BytesIO(b'{"programName":"' + b"a" * (11 << 20) + b'"}')
    assert_problem(await grid.ask("POST", "/programs", body=large, headers=kind), 413)
    assert (await grid.get("/programs")).data == []


async def test_an_endless_event_is_laid_out_as_far_as_is_sensible(running: Running) -> None:
    grid, program = running.as_("grid"), await running.program()
    period = {"start": "2026-11-25T00:00:00Z", "duration": "PT1S"}
    for intervals in ([], [{"id": 0, "payloads": []}], [{"id": 0, "payloads": [{"type": "PRICE", "values": [1]}]}]):
        data = {"programID": program, "duration": "P9999Y", "intervalPeriod": period, "intervals": intervals}
        began = time.perf_counter()
        reply = await grid.post("/events", data)
        assert reply.status == 201, reply.data
        assert time.perf_counter() - began < 2
    late = {"start": "9999-12-31T23:59:59Z", "duration": "P1D", "randomizeStart": "P9999D"}
    early = {"start": "0001-01-02T00:00:00Z", "duration": "PT1H", "randomizeStart": "P9999D"}
    for period in (late, early):
        payload = {"id": 0, "payloads": [{"type": "PRICE", "values": [1]}]}
        data = {"programID": program, "duration": "P9000D", "intervalPeriod": period, "intervals": [payload]}
        assert (await grid.post("/events", data)).status == 201
    assert (await grid.get("/events?active=true")).status == 200


async def test_descriptors_without_object_type(running: Running, tmp_path: Any) -> None:
    data = {"programName": "p", "payloadDescriptors": [{"payloadType": "PRICE"}]}
    assert_problem(await running.as_("grid").post("/programs", data), 400)
    (tmp_path / "lenient").mkdir()
    async with vtn(tmp_path / "lenient", lenient=True) as other:
        reply = await other.as_("grid").post("/programs", data)
        assert reply.data["payloadDescriptors"] == [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE"}]


@pytest.mark.parametrize("version", VERSIONS)
async def test_optional_members_may_be_null(running: Running, version: str) -> None:
    optional = ("targets", "intervalPeriod", "payloadDescriptors", "attributes", "priority", "reportName", "eventName")
    for client, path, data in (await bodies(running, version)).values():
        name = {k: f"{v}-n" for k, v in data.items() if k.endswith("Name") and k != "clientName"}
        reply = await client.post(path, dict.fromkeys(optional) | data | name)
        assert reply.status == 201, reply.data


@pytest.mark.parametrize("version", VERSIONS)
async def test_faults_are_problems(running: Running, version: str) -> None:
    grid, program = running.as_("grid", version), await running.program()
    for path in ("/nothing", "/programs/", "/programs/none", "/programs/a b", "/programs/%00", "/programs/x/y", "//"):
        reply = await grid.get(path)
        assert_problem(reply, 404)
        assert "Traceback" not in str(reply.data)
    for method in ("PATCH", "TRACE", "POST"):
        reply = await grid.ask(method, f"/programs/{program}")
        assert_problem(reply, 405)
        assert reply.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert_problem(await running.as_("", "2.9.9").get("/programs"), 404)
    assert running.refusals.rules.count("openadr3.path") >= 7
