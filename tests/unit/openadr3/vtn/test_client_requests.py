"""The request shapes of clients in the field (public vectors CR01..CR32), each with the answer it needs."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from support import openadr3 as kit
from support.openadr3_server import NEW, OLD, Reply, Running

_ROLES = {"BL": "grid", "VEN": "me", "any": "me"}


_NAME = re.compile(r"(?<=[/=])[PV](?=/|&|$)")


async def _names(running: Running, text: str, number: str) -> dict[str, str]:
    """What stands for the names in a case, made where it is needed."""
    out = {"ID": "me", "SECRET": "me-secret"}
    if re.search(r"[/=\"]P(?=[/&\"]|$)", text):
        out["P"] = await running.program(f"program-{number}")
    if re.search(r"[/\"][VR](?=[/\"]|$)", text):
        out["V"] = await running.ven("me", name=f"ven-{number}")
        data = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "r0", "venID": out["V"]}
        out["R"] = (await running.as_("grid").post("/resources", data)).id
    return out


def _put(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _put(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, names) for item in value]
    return names.get(value, value.replace("//HOST", "//example.org")) if isinstance(value, str) else value


async def _reply(running: Running, case: dict[str, Any], version: str) -> Reply:
    names = await _names(running, json.dumps([case["path"], kit.plain(case["body"])]), case["id"] + version)
    client = running.as_("" if case["path"] == "/auth/token" else _ROLES[case["role"]], version)
    path = _NAME.sub(lambda found: names[found[0]], case["path"])
    headers = {"Content-Type": case["contentType"]} if case["contentType"] else {}
    if case["id"] == "CR02":
        headers["Authorization"] = "Basic " + base64.b64encode(b"me:me-secret").decode()
    if isinstance(case["body"], str):
        body = case["body"].replace("=ID", "=me").replace("=SECRET", "=me-secret")
        return await client.ask(case["method"], path, body=body.encode(), headers=headers)
    data = None if case["body"] is None else _put(kit.plain(case["body"]), names)
    return await client.ask(case["method"], path, data, headers=headers)


async def test_every_shape_gets_its_answer(running: Running) -> None:
    cases = kit.vector("client-requests.json")["cases"]
    assert len(cases) == 32
    for case in cases:
        for version in (OLD, NEW) if case["version"] == "both" else (case["version"],):
            if case["id"] == "CR21":
                continue  # topics come with a broker
            if case["id"] == "CR27":
                for ven in (await running.as_("me").get("/vens")).data[1:]:
                    await running.as_("me").delete(f"/vens/{ven['id']}")  # it is about a client with one ven
            reply = await _reply(running, case, version)
            assert reply.status == case["expect"], (case["id"], version, reply.data)
            if case["id"] == "CR15":
                assert (reply.data["targets"], reply.data["clientID"]) == ([], "me")
                await running.as_("grid").delete(f"/vens/{reply.id}")
            if case["id"] == "CR32":
                assert "GET" in reply.headers["Allow"]
