"""META, CRUD, ENC: the life of every object in both versions (conformance cases of these names)."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from support.openadr3_server import NEW, OLD, Running, bodies

from adapters.openadr3.codec import dumps, loads

VERSIONS = (OLD, NEW)


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_object_lives_and_is_stamped(running: Running, version: str) -> None:
    for name, (client, path, data) in (await bodies(running, version)).items():
        stamps = {"id": "mine", "createdDateTime": "1999-01-01T00:00:00Z"}
        made = await client.post(path, {**stamps, "privateMember": {"kept": None}, **data})
        assert made.status == 201, (name, made.data)
        assert made.data["id"] != "mine"
        assert made.data["objectType"] == name.upper().rstrip("S")
        assert made.data["createdDateTime"] == made.data["modificationDateTime"] == "2026-11-24T12:00:00.000000Z"
        assert made.data["privateMember"] == {"kept": None}
        if version == NEW and name in ("reports", "subscriptions", "vens", "resources"):
            assert made.data["clientID"] == "me"
        assert {k: v for k, v in made.data.items() if k in data and k != "objectType"} == loads(
            dumps({k: v for k, v in data.items() if k != "objectType"})
        )
        item = f"{path}/{made.id}"
        assert (await client.get(item)).data == made.data
        assert made.data in (await client.get(path)).data
        changed = await client.put(item, {**data, "id": "other"})
        assert changed.status == 200, (name, changed.data)
        assert (changed.data["id"], changed.data["createdDateTime"]) == (made.id, made.data["createdDateTime"])
        assert changed.data["modificationDateTime"] > made.data["modificationDateTime"]
        gone = await client.delete(item)
        assert (gone.status, gone.data) == (200, changed.data)
        for method in ("GET", "DELETE"):
            assert (await client.ask(method, item)).status == 404
        assert (await client.put(item, data)).status == 404


@pytest.mark.parametrize("version", VERSIONS)
async def test_texts_and_numbers_come_back_as_they_went(running: Running, version: str) -> None:
    body = (
        b'{"programID":"%s","intervalPeriod":{"start":"0001-01-01","duration":"P9999Y"},"intervals":[{"id":0,'
        b'"payloads":[{"type":"X","values":[0.1,1e-7,12345678901234567890,-0.0,true,"t",{"x":1.50,"y":2}]}]}]}'
    ) % (await running.program()).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    grid = running.as_("grid", version)
    made = await grid.ask("POST", "/events", body=body, headers=headers)
    assert made.status == 201
    assert made.data["intervalPeriod"] == {"start": "0001-01-01", "duration": "P9999Y"}
    values = made.data["intervals"][0]["payloads"][0]["values"]
    assert list(map(str, values)) == list(map(str, loads(body)["intervals"][0]["payloads"][0]["values"]))


@pytest.mark.parametrize("version", VERSIONS)
async def test_names_are_unique_where_the_standard_says_so(running: Running, version: str) -> None:
    grid = running.as_("grid", version)
    one, two = await running.program("one"), await running.program("two")
    assert (await grid.post("/programs", {"programName": "one"})).status == 409
    assert (await grid.put(f"/programs/{two}", {"programName": "one"})).status == 409
    assert (await grid.put(f"/programs/{one}", {"programName": "one"})).status == 200
    asked = [grid.post("/programs", {"programName": "three"}) for _ in range(2)]
    assert sorted(reply.status for reply in await asyncio.gather(*asked)) == [201, 409]
    first, second = await running.ven("me", name="v"), await running.ven("other", name="w")
    data = {"objectType": "BL_VEN_REQUEST"} if version == NEW else {}
    assert (await grid.post("/vens", data | {"clientID": "x", "venName": "v"})).status == 409
    for ven, status in ((first, 201), (first, 409), (second, 201)):
        resource = {"resourceName": "r", "venID": ven}
        resource |= {"objectType": "BL_RESOURCE_REQUEST"} if version == NEW else {}
        path = "/resources" if version == NEW else f"/vens/{ven}/resources"
        assert (await grid.post(path, resource)).status == status
    for _ in range(2):
        await running.event(one, eventName="same")


@pytest.mark.parametrize(("version", "status"), [(OLD, 400), (NEW, 409)])
async def test_what_is_named_must_exist(running: Running, version: str, status: int) -> None:
    grid, me = running.as_("grid", version), running.as_("me", version)
    assert (await grid.post("/events", {"programID": "none", "intervals": []})).status == status
    report = {"programID": "none", "eventID": "none", "clientName": "c", "resources": []}
    assert (await me.post("/reports", report)).status == status
    hidden = await running.event(await running.program(), targets=["secret"])
    answers = [await me.post("/reports", report | {"eventID": id}) for id in (hidden, "none")]
    assert [a.status for a in answers] == [status, status]
    assert answers[0].data == answers[1].data  # PRIV07


async def test_removals_leave_no_orphans(running: Running) -> None:
    grid, me = running.as_("grid"), running.as_("me")
    program = await running.program()
    event = await running.event(program, targets=["t"])
    assert (await grid.delete(f"/programs/{program}")).status == 409
    ven = await running.ven("me", "t")
    data = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "r", "venID": ven}
    resource = (await grid.post("/resources", data)).id
    assert (await me.get(f"/events/{event}")).status == 200
    assert (await grid.delete(f"/vens/{ven}")).status == 200
    assert (await me.get(f"/events/{event}")).status == 404
    assert (await grid.get(f"/resources/{resource}")).status == 404


async def test_resources_stand_inside_their_ven_in_3_0_1(running: Running) -> None:
    me = running.as_("me", OLD)
    ven = await me.post("/vens", {"venName": "v", "resources": [{"resourceName": "a"}, {"resourceName": "b"}]})
    assert [(r["resourceName"], r["venID"]) for r in ven.data["resources"]] == [("a", ven.id), ("b", ven.id)]
    ids = {r["resourceName"]: r["id"] for r in ven.data["resources"]}
    listed = (await me.get(f"/vens/{ven.id}/resources?resourceName=b")).data
    assert [r["id"] for r in listed] == [ids["b"]]
    changed = await me.put(f"/vens/{ven.id}", {"venName": "v", "resources": [{"resourceName": "b"}]})
    assert [r["id"] for r in changed.data["resources"]] == [ids["b"]]
    assert (await me.put(f"/vens/{ven.id}", {"venName": "v"})).data["resources"] == changed.data["resources"]
    assert (await me.get("/vens/none/resources")).status == 404
    assert (await running.as_("other", OLD).get(f"/vens/{ven.id}/resources")).status == 404
    assert (await running.as_("me").get(f"/resources?venID={ven.id}")).data[0]["resourceName"] == "b"


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_object_that_is_known_is_not_sent_again(running: Running, version: str) -> None:
    program = await running.program()
    grid = running.as_("grid", version)
    seen = await grid.get(f"/programs/{program}")
    tag = seen.headers["ETag"]
    for path in (f"/programs/{program}", "/programs"):
        seen = await grid.get(path)
        again = await grid.get(path, headers={"If-None-Match": seen.headers["ETag"]})
        assert (again.status, again.data) == (304, b"")
    good = {"If-Match": tag}
    assert (await grid.put(f"/programs/{program}", {"programName": "q"}, headers=good)).status == 200
    assert (await grid.put(f"/programs/{program}", {"programName": "r"}, headers=good)).status == 412
    assert (await grid.delete(f"/programs/{program}", headers=good)).status == 412
    assert (await grid.delete(f"/programs/{program}", headers={"If-Match": "*"})).status == 200


async def test_bodies_may_be_packed_both_ways(running: Running) -> None:
    grid = running.as_("grid")
    packed = gzip.compress(dumps({"programName": "n" * 100, "note": "x" * 5000}))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    made = await grid.ask("POST", "/programs", body=packed, headers=headers)
    assert made.status == 201
    shown = await grid.get("/programs", headers={"Accept-Encoding": "gzip"})
    assert shown.headers["Content-Encoding"] == "gzip"
    assert shown.data == [made.data]
    plain = await grid.get("/programs", headers={"Accept-Encoding": "identity"})
    assert ("Content-Encoding" in plain.headers, plain.data) == (False, [made.data])
    for body, encoding, status in (
        (packed[:-9], "gzip", 400),
        (b"no", "gzip", 400),
        (packed, "br", 415),
        (gzip.compress(b" " * 20_000_000), "gzip", 413),
    ):
        reply = await grid.ask("POST", "/programs", body=body, headers={**headers, "Content-Encoding": encoding})
        assert reply.status == status


async def test_head_and_options_are_sane(running: Running) -> None:
    program = await running.program()
    grid = running.as_("grid")
    got = await grid.get(f"/programs/{program}")
    head = await grid.ask("HEAD", f"/programs/{program}")
    assert (head.status, head.data, head.headers["ETag"]) == (200, b"", got.headers["ETag"])
    assert got.headers["Content-Type"] == "application/json"
    options = await grid.ask("OPTIONS", f"/programs/{program}")
    assert (options.status, options.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")
