"""A dispatch to a battery behind a VEN of OpenADR 3, through a running server: event, answers, opt-out, withdrawal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.openadr3_server import NEW, OLD, Client

from datamodels import ProgrammeEvent
from interop.config import parse_config
from interop.server import Server

RESOURCE = {"connection": "ean.1", "kind": "BATTERY", "role": "STORAGE", "p_min_w": -5000, "p_max_w": 5000}


def bound(id: str, address: str) -> dict[str, Any]:
    return RESOURCE | {"id": id, "binding": {"adapter": "openadr3", "address": address}}


class House:
    """The server, its operators' API, and VENs that ask it."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.api = Client(session, f"http://{server.http_address}/api/v1")
        self.base = server.adapters["openadr3"].status().listening[0]

    async def as_(self, who: str, version: str = NEW) -> Client:
        client = Client(self.session, f"{self.base}/{version}")
        form = {"grant_type": "client_credentials", "client_id": who, "client_secret": f"{who}-secret"}
        client.token = (await client.ask("POST", "/auth/token", body=form)).data["access_token"]
        return client

    async def dispatch(self, resource: str, id: str, value: int = -3000) -> None:
        body = {"resource": resource, "kind": "SETPOINT", "value": value, "minutes": 30, "id": id}
        reply = await self.api.post("/dispatches", body)
        assert reply.status == 201, reply.data

    async def until(self, id: str, status: str) -> dict[str, Any]:
        async with asyncio.timeout(8):
            while True:
                rows = {row["id"]: row for row in (await self.api.get("/dispatches")).data}
                if rows[id]["status"] == status:
                    return rows[id]
                await asyncio.sleep(0.02)

    async def events(self, client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/events")).data
        return found

    async def shown(self, client: Client, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(8):
            while len(found := await self.events(client)) != count:
                await asyncio.sleep(0.02)
        return found

    async def state(self, client: Client, event: dict[str, Any], value: str, name: str = "battery") -> None:
        intervals = [{"id": 0, "payloads": [{"type": "OPERATING_STATE", "values": [value]}]}]
        body = {
            "eventID": event["id"],
            "clientName": "x",
            "resources": [{"resourceName": name, "intervals": intervals}],
        }
        if client.base.endswith(OLD):
            body |= {"programID": event["programID"]}
        reply = await client.post("/reports", body)
        assert reply.status == 201, reply.data


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clients = []
    for id in ("me", "other"):
        (tmp_path / id).write_text(f"{id}-secret\n")
        clients.append({"id": id, "secret_file": str(tmp_path / id)})
    vtn = {"listen": "127.0.0.1:0", "profile": "lab", "insecure": True, "clients": clients}
    config = {
        "party": {"domain": "agr.example.org", "role": "AGR"},
        "server": {"http_listen": "127.0.0.1:0"},
        "adapters": {"openadr3": {"vtn": vtn}},
        "resources": [bound("b1", "house-1/battery"), bound("b2", "house-2/battery"), bound("b3", "house-3/battery")],
    }
    server = Server(parse_config(config, tmp_path, {}))
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            house = House(server, session)
            for name, client, profile in (("house-1", "me", NEW), ("house-2", "other", OLD)):
                body = {"name": name, "client": client, "profile": profile, "resources": [{"name": "battery"}]}
                assert (await house.api.post("/vens", body)).status == 201
            yield house
    finally:
        await server.stop()


async def test_a_dispatch_is_an_event_for_its_ven_alone(house: House) -> None:
    await house.dispatch("b1", "d-1")
    me, other = await house.as_("me"), await house.as_("other", OLD)
    (event,) = await house.shown(me)
    (interval,) = event["intervals"]
    assert interval["payloads"] == [{"type": "DISPATCH_SETPOINT", "values": [-3]}]
    assert (event["targets"], event["payloadDescriptors"][0]["units"]) == (["house-1"], "KW")
    assert await house.events(other) == [], "its battery has the same name"

    await house.state(me, event, "RUNNING_NORMAL")
    await house.until("d-1", "STARTED")
    assert (await house.api.ask("DELETE", "/dispatches/d-1")).data["withdrawn"]
    await house.until("d-1", "REVOKED")
    assert await house.events(me) == []


async def test_a_ven_that_opts_out_rejects_the_dispatch(house: House) -> None:
    await house.dispatch("b2", "d-2", 2500)
    other = await house.as_("other", OLD)
    (event,) = await house.shown(other)
    assert event["intervals"][0]["payloads"] == [{"type": "DISPATCH_SETPOINT", "values": [2.5]}]
    assert event["targets"] == [{"type": "VEN_NAME", "values": ["house-2"]}]
    await house.state(other, event, "RUNNING_OPTED_OUT")
    row = await house.until("d-2", "REJECTED")
    assert row["reason"] == "optOut reported"
    (opt,) = (await house.api.get("/opts")).data["events"]
    assert (opt["ven_name"], opt["opt"], opt["current"]) == ("house-2", "optOut", True)


async def test_a_revision_is_one_event_still_and_a_wrong_address_is_told(house: House) -> None:
    await house.dispatch("b1", "d:1")
    me = await house.as_("me")
    (event,) = await house.shown(me)
    assert ":" not in event["id"]
    await house.dispatch("b1", "d:1", 1000)
    async with asyncio.timeout(8):
        while (found := await house.shown(me))[0]["intervals"][-1]["payloads"][0]["values"] != [1]:
            await asyncio.sleep(0.02)
    assert found[0]["id"] == event["id"]
    kept = house.server.programmes.get(ProgrammeEvent, event["id"])
    assert kept is not None
    assert (kept.name, kept.revision) == ("d:1", 1)
    await house.dispatch("b3", "d-3")
    row = await house.until("d-3", "REJECTED")
    assert "nobody is at 'house-3/battery'" in row["reason"]
